"""What converting a ResNet-50 with proof takes, beside reading and pickling its tensors with no proof at all.

The file is what MoCo's pretraining leaves: 1.5 GB with momentum encoder, queue, optimiser state and ballast in the
optimiser's place. Each side runs in a fresh process, which imports first and then measures: seconds, and how far its
peak resident memory rises, by the kernel's count, in units of the encoder's bytes. Run it alone:
`python -m benchmarks.perf.convert`. It needs 2 GB in the folder for temporary files.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

MOST_SECONDS, MOST_GROWTH = 3.0, 4.0
"""Of the conversion: after imports, and in units of the encoder's bytes."""
FILE_BYTES = 1.5e9
ROUNDS = 3


def main() -> None:
    """Measure both sides, print a table, and last a JSON line."""
    if len(sys.argv) == 4:
        return _measure(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint = folder / "moco_v2.pth.tar"
        encoder_bytes = _write_checkpoint(checkpoint)
        size = checkpoint.stat().st_size
        print(f"a checkpoint of {size / 1e9:.2f} GB, its encoder {encoder_bytes / 1e6:.0f} MB; after imports:")
        rounds = [
            {side: _run(side, checkpoint, folder / f"{side}{number}") for side in ("convert", "plain")}
            for number in range(ROUNDS)
        ]
    best = {side: min(found[side]["seconds"] for found in rounds) for side in rounds[0]}
    growth = {side: max(found[side]["growth"] for found in rounds) / encoder_bytes for side in rounds[0]}
    titles = {"convert": "superinfo convert, with proof", "plain": "torch.load + pickle.dump, no proof"}
    print(f"{'':<38}{'seconds':>9}{'peak memory over the encoder':>32}")
    for side, title in titles.items():
        print(f"{title:<38}{best[side]:>9.2f}{growth[side]:>31.2f}x")
    print(f"{'at most':<38}{MOST_SECONDS:>9.2f}{MOST_GROWTH:>31.2f}x")
    result = {"name": "convert", "ratio": round(best["plain"] / best["convert"], 3)}
    result |= {f"{side}_seconds": round(seconds, 3) for side, seconds in best.items()}
    result |= {f"{side}_memory_over_encoder": round(value, 3) for side, value in growth.items()}
    print(json.dumps(result | {"most_seconds": MOST_SECONDS, "most_memory_over_encoder": MOST_GROWTH}))
    return None


def _write_checkpoint(path: Path) -> int:
    import torch
    from torchvision.models import resnet50

    model = resnet50()
    model.fc = torch.nn.Sequential(torch.nn.Linear(2048, 2048), torch.nn.ReLU(), torch.nn.Linear(2048, 128))
    state = model.state_dict()
    encoder_bytes: int = sum(t.nbytes for key, t in state.items() if not key.startswith("fc."))
    tensors = {f"module.encoder_{branch}.{key}": t.clone() for branch in "qk" for key, t in state.items()}
    tensors |= {"module.queue": torch.randn(128, 65536), "module.queue_ptr": torch.zeros(1, dtype=torch.long)}
    optimizer = {number: {"momentum_buffer": t.clone()} for number, t in enumerate(state.values())}
    rest = FILE_BYTES - sum(t.nbytes for t in tensors.values()) - sum(t.nbytes for t in state.values())
    optimizer[len(optimizer)] = {"momentum_buffer": torch.zeros(int(rest / 4))}
    payload = {"epoch": 200, "arch": "resnet50", "state_dict": tensors, "optimizer": {"state": optimizer}}
    torch.save(payload, path)
    return encoder_bytes


def _run(side: str, checkpoint: Path, out: Path) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.perf.convert", side, str(checkpoint), str(out)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _measure(side: str, checkpoint: Path, out: Path) -> None:
    from superinfo.runs import peak_memory_mib, reset_peak_memory

    run = _conversion() if side == "convert" else _plain()
    reset_peak_memory()
    before, start = peak_memory_mib(), time.perf_counter()
    run(checkpoint, out)
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "growth": (peak_memory_mib() - before) * 2**20}))


def _conversion() -> Callable[[Path, Path], object]:
    import transfer.convert.proof
    from transfer.convert import convert

    assert transfer.convert.proof
    return convert


def _plain() -> Callable[[Path, Path], object]:
    import pickle

    import torch

    def run(checkpoint: Path, out: Path) -> None:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
        prefix = "module.encoder_q."
        arrays = {key: tensor.numpy() for key, tensor in state.items() if key.startswith(prefix)}
        with out.open("wb") as file:
            pickle.dump({"model": arrays}, file, protocol=4)

    return run


if __name__ == "__main__":
    main()
