"""A regular package: some distribution's stray ``tests`` in site-packages would hide a namespace."""
