"""All that needs a GPU to be known, in one script: ``python tools/gpu_check --json gpu.json``.

Needs torch, triton and jaxtyping, and of this repository only the files. Sections run until the time is up; each result
is printed as it comes, and JSON last. Without a GPU, ``--rehearse`` goes through the same steps on tiny sizes, with the
kernels interpreted, to see that nothing in the script itself fails.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9, help="no section begins after these")
    parser.add_argument("--json", type=Path, help="write the results here as well")
    parser.add_argument("--only", nargs="*", help="names of sections")
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes, interpreted on the CPU")
    options = parser.parse_args()
    if options.rehearse:
        os.environ["TRITON_INTERPRET"] = "1"
    sys.path[:0] = [str(REPOSITORY), str(Path(__file__).parent)]

    from checks import conformance, determinism
    from machine import about
    from memory import peak_memory
    from speed import attention_speed, million_tokens

    sections = (attention_speed, determinism, peak_memory, million_tokens, conformance)
    deadline = time.monotonic() + 60 * options.minutes
    results: dict[str, object] = {"machine": about(options.rehearse)}
    print(results["machine"], flush=True)
    for section in sections:
        if options.only and section.__name__ not in options.only:
            continue
        if time.monotonic() > deadline:
            results[section.__name__] = "not run: the time was up"
            continue
        print(f"\n== {section.__name__}", flush=True)
        try:
            results[section.__name__] = section(options.rehearse, deadline)
        except Exception as error:  # the sections after it shall still run
            results[section.__name__] = f"failed: {type(error).__name__}: {str(error)[:500]}"
            print(results[section.__name__], flush=True)
    text = json.dumps(results, indent=1)
    if options.json:
        options.json.write_text(text + "\n")
    print(f"\n{text}")


main()
