"""Where models run: one device, or blocks spread over several; and whether to the last bit."""

from __future__ import annotations

import os

import torch

from emodrift.errors import EmodriftError

SPREADS = ("balanced", "balanced_low_0", "sequential")
"""Ways of accelerate to spread blocks over several GPUs."""


def choose_device(device: str) -> torch.device:
    """Device on which a model runs, or on which it begins where its blocks are spread.

    Parameters
    ----------
    device
        Config: `compute.device`.

    Raises
    ------
    EmodriftError
        A GPU is asked for that torch does not see.
    """
    seen = torch.cuda.device_count()
    if device == "auto":
        return torch.device("cuda" if seen else "cpu")
    if device == "cpu":
        return torch.device("cpu")
    number = int(device.partition(":")[2] or 0) if device not in SPREADS else 0
    if number >= seen:
        raise EmodriftError(
            f"compute.device is {device!r} but torch sees {seen or 'no'} "
            f"GPU{'' if seen == 1 else 's'}; set cpu, auto or a GPU that there is"
        )
    return torch.device("cuda" if device in SPREADS else device)


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype | str:
    """Data type of the weights, ``auto`` for that of the saved ones.

    Parameters
    ----------
    dtype
        Config: `compute.dtype`.
    device
        Where the model runs.
    """
    if dtype == "auto":
        return torch.float32 if device.type == "cpu" else "auto"
    return getattr(torch, dtype)


def use_deterministic_algorithms() -> None:
    """Make torch give the same bits for the same job on the same machine, or fail.

    Algorithms that add up in varying order are ruled out and TF32 is off; see "Reproducibility" in
    torch's documentation. cuBLAS reads its workspace setting when it is first used, so that this
    comes before the first operation on a GPU.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
