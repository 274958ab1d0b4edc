"""Files in which a lock, and what discovery adds to it, lie."""

LOCK, BUNDLES, LAYER = "lock.zarr", "bundles.json", "layer.json"
FOUND, RIVALS = "discovered.json", "rivals.zarr"
