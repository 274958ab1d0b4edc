"""The config sections that change no result: how figures look, where models run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from emodrift.config.section import Name, Section

Width = Literal["one", "two"] | Annotated[float, Field(ge=2, le=20)]


class Panel(Section):
    """One figure: what it shows and its size. The standard figures are drawn in any case; a panel
    of a standard figure's name takes its place, one of another name is drawn beside it."""

    figure: Name | None = None
    """Which of the figures it is (docs/figures.md); left out, the one of the panel's own name."""
    runs: tuple[Name, ...] = ()
    """Runs that have panels or lines of their own, in this order; left out, all that are not
    healthy."""
    emotions: tuple[str, ...] = ()
    """Emotions to show, in this order; left out, all."""
    width: Width | None = None
    """`one` or `two` columns of a journal (3.35 and 6.9 inches), or inches; left out, that of all
    figures."""
    height: float | None = Field(default=None, gt=0)
    """Height in inches; left out, what the panels need."""
    palette: str | None = None
    """Matplotlib colour map for values shown as colours; left out, the figure's own."""


class Figures(Section):
    """How figures look, and which are drawn beside the standard ones."""

    width: Width = "two"
    """`one` or `two` columns of a journal (3.35 and 6.9 inches), or inches."""
    names: dict[str, str] = Field(default_factory=dict)
    """Run, emotion, bundle or metric -> words that figures show in its place."""
    panels: dict[Name, Panel] = Field(default_factory=dict)
    """Name of the published file -> a figure drawn otherwise than by default."""


GRADIENT_SHARE = 4
"""As many times smaller are batches of which gradients are taken."""


class Compute(Section):
    """Where and how models run. Nothing here changes a result beyond rounding."""

    device: str = Field(
        default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?|balanced|balanced_low_0|sequential)$"
    )
    """`auto` (the first GPU, else the CPU), `cpu`, `cuda`, or one of several as in `cuda:1`. Blocks
    are spread over all GPUs by `balanced` (evenly), `balanced_low_0` (evenly, the first is left
    roomy) and `sequential` (one after the other is filled); what does not fit goes to the CPU."""
    dtype: Literal["auto", "float32", "bfloat16", "bfloat16-mixed", "float16"] = "auto"
    """Data type of the weights; `auto`: as saved on a GPU, float32 on a CPU. `bfloat16-mixed`:
    products with weights in bfloat16, all between them in float32; faster where the processor
    multiplies bfloat16 (docs/engine.md)."""
    batch_tokens: int = Field(default=4096, ge=16)
    """Tokens per batch, padding included; a quarter where gradients are taken, since all that the
    backward pass needs is kept. A batch that does not fit in memory is halved, and so are the later
    ones."""
    recompute_blocks: bool = False
    """Keep one block's graph at a time when metrics are differentiated, and run blocks again: takes
    a fraction of the memory and about half as much time again."""
    blocks: str | None = None
    """Where a network keeps its decoder blocks, such as `model.layers`. Left out, they are found;
    either way it is proved on a probe that they are the right ones."""
    deterministic: bool = False
    """Rule out algorithms on a GPU that give other bits from run to run (slower); see
    docs/engine.md."""
    allow_pickle: bool = False
    """Load checkpoints that have no safetensors files. Pickled weights can run code."""
    keep_downloads: bool = True
    """`false`: weights that a job fetched from the hub are deleted from the hub's cache once the
    last job that needs them is done. What was in the cache before stays."""

    @property
    def mixed(self) -> bool:
        """Whether products with weights are in another data type than all else."""
        return self.dtype == "bfloat16-mixed"

    @property
    def weights(self) -> str:
        """Data type in which weights are loaded."""
        return "float32" if self.mixed else self.dtype
