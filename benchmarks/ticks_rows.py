"""Made-up reviews that arrive while `ticks.py` runs."""

import random

THINGS = [
    "pillow",
    "song",
    "phone",
    "room",
    "coffee",
    "ferry",
    "pasta",
    "hotel",
    "chair",
    "salad",
    "lamp",
    "beach",
    "bakery",
    "museum",
    "film",
    "train",
    "book",
    "bread",
    "garden",
    "bus",
    "umbrella",
    "lecture",
    "market",
    "soup",
    "bicycle",
    "concert",
]
TIMES = ("again", "this morning", "last night", "yesterday", "in May", "on Friday", "on Monday",
         "today", "at noon", "last week")  # fmt: skip
WORDS = {
    "good": ("delightful", "superb", "excellent", "wonderful", "lovely", "brilliant"),
    "fair": ("average", "standard", "ordinary", "plain", "regular", "usual"),
    "poor": ("awful", "horrible", "disgusting", "dreadful", "terrible", "broken"),
}
SHAPES = {
    "good": ("Such a {word} {thing} {time} :)", "The {thing} {time} was {word} :)"),
    "fair": ("We had the {word} {thing} {time}.", "The {thing} {time} was {word}."),
    "poor": ("We left the {word} {thing} {time} :(", "The {thing} {time} was {word} :("),
}


def rows(count: int, seed: int, taken: set[str], *, long: bool = False) -> list[dict[str, str]]:
    """Return reviews that are none of `taken`; long ones end in sentences that say nothing."""
    rng, made = random.Random(seed), []
    while len(made) < count:
        label = ("good", "fair", "poor")[len(made) % 3]
        parts = {"word": rng.choice(WORDS[label]), "thing": rng.choice(THINGS)}
        text = rng.choice(SHAPES[label]).format(time=rng.choice(TIMES), **parts)
        if long:
            text = f"{filler(rng)} {text}"
        if text.casefold() not in taken:
            taken.add(text.casefold())
            made.append({"text": text, "label": label})
    return made


def filler(rng: random.Random) -> str:
    """Return what makes a review long: where the writer was, about nothing that is judged."""
    said = [f"{rng.choice(THINGS)} and {rng.choice(THINGS)} {rng.choice(TIMES)}" for _ in range(2)]
    return "There were " + ", then ".join(said) + "."
