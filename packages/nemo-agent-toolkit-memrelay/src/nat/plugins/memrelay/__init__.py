"""memrelay as memory of NVIDIA NeMo Agent Toolkit: ``_type: memrelay``."""
