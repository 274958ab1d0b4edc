"""All indicators, in the order of tables and figures. A new one is a module and a line here."""

from emodrift.warning.indicators import collapse, decoupling, eagerness, lock_in

ALL = tuple(m.INDICATOR for m in (decoupling, collapse, lock_in, eagerness))
INDICATORS = tuple(indicator.name for indicator in ALL)
TITLES = {indicator.name: indicator.title for indicator in ALL}
DOCS = {indicator.name: indicator.docs for indicator in ALL}
