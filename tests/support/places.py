"""Where a process stands that trains alone."""

from pretrain.parallel import Place

ALONE = Place.alone()
