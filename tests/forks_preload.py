"""What the server of `tests.forks` imports before it forks."""

import facemtl.training.train  # noqa: F401
from facemtl.models import backbones
from tests.support import SMALL, small_backbone

backbones.OWN[SMALL] = small_backbone
