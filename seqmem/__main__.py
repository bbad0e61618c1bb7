"""``python -m seqmem`` is the command line."""

from seqmem.cli import main

main()
