"""The parts models are made of; modules that compute attention call :class:`seqmem.ops.Ops` only."""
