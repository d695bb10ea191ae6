"""The item-level method: arm levels from an item-response model, then the same hierarchy as the arm-level one."""

from __future__ import annotations

import dataclasses
import functools

from divergence.cells import Cells
from divergence.errors import InputError
from divergence.joint.arms import Arms, measure_arms
from divergence.joint.importance import Importance
from divergence.joint.item_levels import item_levels
from divergence.joint.methods import Sample
from divergence.joint.nuts import NUTS
from divergence.joint.problem import Data
from divergence.joint.spec import Spec


@dataclasses.dataclass(frozen=True)
class ItemLevel:
    """For arms with hardly any item in common; see `item_levels`."""

    sampler: Importance | NUTS = dataclasses.field(default_factory=Importance)
    """Draws the standard deviations of the hierarchy."""

    measurement = "item-level"

    def measure(self, cells: Cells, spec: Spec | None = None) -> Arms:
        """The arms of the log, their items linked by common difficulties. Raises InputError where these are left out."""
        spec = spec or Spec()
        if not spec.item_difficulty:
            raise InputError(
                "the item-level method is a model of item difficulties, and item_difficulty is off: use Importance()"
            )
        return measure_arms(cells, functools.partial(item_levels, movement=spec.item_movement))

    def __call__(self, data: Data, seed: int) -> Sample:
        """Draw from the posterior of the coordinates given `data` (see `numpyro_model.joint_model`)."""
        return self.sampler(data, seed)
