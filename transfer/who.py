"""Whose features a record measures."""

from superinfo.artifacts import EncoderSpec, Source, Who


def random_who(encoder: EncoderSpec, seed: int) -> Who:
    """Return the row that starts from random weights."""
    return Who(
        name="random",
        method="random",
        term="none",
        dataset=None,
        epochs=0,
        seed=seed,
        encoder=encoder,
        recipe_hash=None,
        tensors_sha256=None,
    )


def who_from(source: Source) -> Who:
    """Return the row of a checkpoint: what it says of itself, or of a file from elsewhere who writes such files."""
    info = source.checkpoint
    return Who(
        name=source.name,
        method=info.method if info else " or ".join(source.layouts),
        term=info.term if info else "none",
        dataset=info.dataset if info else None,
        epochs=info.epochs if info else None,
        seed=info.seed if info else 0,
        encoder=source.encoder,
        recipe_hash=info.recipe_hash if info else None,
        tensors_sha256=source.tensors_sha256,
        pixels=None if info else source.pixels,
    )


def inputs_of(who: Who) -> list[str]:
    """Return what a run's hash covers of it, beside the recipe.

    Of a file from elsewhere that is more than its tensors: read in another way, it is another encoder.
    """
    if who.pixels is None:
        return [who.tensors_sha256 or "random"]
    return [who.tensors_sha256 or "random", who.encoder.model_dump_json(), who.pixels.model_dump_json()]
