"""``analyzer serve`` with the fake recogniser, as a process of its own: python -m tests.serve_fake FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

from analyzer.catalog import load_pack
from analyzer.serve.run import Address, Serving, serve
from tests.fake_speech import FakeRecogniser
from tests.serving import TOKEN
from tests.tiny_pack import write_tiny_pack


def main(folder: Path) -> None:
    pack = load_pack(str(write_tiny_pack(folder / "pack")), "standard")
    serving = Serving(Address("127.0.0.1", 0), TOKEN)

    def announce(address: Address, recovered: list[str]) -> None:
        print(address.port, *recovered, flush=True)

    serve(
        serving,
        pack,
        FakeRecogniser(delay_s=0.2),
        folder / "run",
        workers=2,
        cores_each=1,
        profile="standard",
        announce=announce,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
