"""The champion, the exported file that is in use now, on the items of its challengers."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from components.contracts.artefacts import Draft
from components.contracts.events import Context
from components.contracts.kinds import Champion, Onnx
from components.runtime.lm import open_lm
from components.runtime.session import Device
from components.scoring.items import Item
from components.scoring.metrics import summarise
from components.scoring.tables import write_scores

if TYPE_CHECKING:
    from components.scoring.wording import Stranger
    from components.verification.variant_tasks import VariantTasks

NAME = "champion"
BY_TOKEN = ("answer_loss", "answer_perplexity", "perplexity")
"""Figures that two tokenizers cannot share."""


def ask_champion(
    champion: Champion,
    onnx: Onnx,
    questions: Path,
    items: Sequence[Item],
    prefix: int,
    tasks: "VariantTasks | None",
    draft: Draft,
    context: Context,
) -> dict[str, Any]:
    """Return what the champion made of items and tasks, or why there is nothing.

    {"there", "compared", "reason" or "metrics" and "tasks", "same_as", "own_tokens"}: `same_as`
    names the variant whose files are the champion's byte for byte: its answers are the champion's.
    """
    told = champion.facts
    known: dict[str, Any] = {key: told[key] for key in ("there", "name", "sha256") if key in told}
    if not told["there"]:
        return {**known, "compared": False, "reason": "there is no champion yet"}
    champion.check()
    same = same_files(champion, onnx)
    if same is not None:
        context.events.note(f"{same} is the champion, byte for byte")
        return {**known, **answers_of(same, tasks, draft)}
    device = cast(Device, told.get("device", "cpu"))
    rival = Rival(champion.model, onnx.variant(onnx.variants[0]), device, questions)
    return {**known, **rival.answer(items, prefix, tasks, draft.folder, context)}


def same_files(champion: Champion, onnx: Onnx) -> str | None:
    """Return the variant whose files are exactly the champion's, if there is one."""
    wanted = _digests(champion.files, "model")
    found = [name for name in onnx.variants if _digests(onnx.files, name) == wanted]
    return found[0] if found else None


def answers_of(variant: str, tasks: "VariantTasks | None", draft: Draft) -> dict[str, Any]:
    """Give the champion the answers of the variant that it is."""
    shutil.copyfile(draft.folder / f"{variant}.parquet", draft.folder / f"{NAME}.parquet")
    told = draft.facts["variants"][variant]
    facts = {"compared": True, "same_as": variant, "metrics": told["metrics"]}
    if tasks is not None:
        tasks.answers[NAME] = tasks.answers[variant]
        for file in sorted((draft.folder / "tasks").glob(f"*/{variant}.parquet")):
            shutil.copyfile(file, file.with_name(f"{NAME}.parquet"))
        facts["tasks"] = told["tasks"]
    return facts


def _digests(files: Mapping[str, Mapping[str, Any]], folder: str) -> dict[str, str]:
    start = f"{folder}/"
    return {
        name.removeprefix(start): str(entry["sha256"])
        for name, entry in files.items()
        if name.startswith(start)
    }


@dataclass(frozen=True)
class Rival:
    """The champion's folder, that of a challenger, and the held-out rows as text, where kept."""

    folder: Path
    challenger: Path
    device: Device
    questions: Path

    @property
    def reads_the_same(self) -> bool:
        """Whether both folders have the same tokenizer, so that ids mean the same to both."""
        files = [place / "tokenizer.json" for place in (self.folder, self.challenger)]
        return all(f.is_file() for f in files) and files[0].read_bytes() == files[1].read_bytes()

    def answer(
        self,
        items: Sequence[Item],
        prefix: int,
        tasks: "VariantTasks | None",
        folder: Path,
        context: Context,
    ) -> dict[str, Any]:
        """Score items and tasks; return the figures, or why there are none.

        A champion with another tokenizer was made from another base model. It is asked the same
        words in its own tokens; what is counted by the token is left out then.
        """
        from components.scoring.score import score_items

        lm, stranger = open_lm(self.folder, threads=1, device=self.device), None
        if not self.reads_the_same:
            found = self.as_stranger(items, lm.context_length)
            if found is None:
                reason = "it has another tokenizer, and the words of the held-out rows are not kept"
                context.events.note(f"not compared with the champion: {reason}")
                return {"compared": False, "reason": reason}
            stranger, items = found
            prefix = stranger.prefix_token
            context.events.note("the champion has another tokenizer: it reads the same words")
        scores = score_items(
            lm, items, prefix_token=prefix, events=context.events, label="verify champion"
        )
        write_scores(folder / f"{NAME}.parquet", scores)
        metrics = summarise(scores)
        if stranger is not None:
            metrics |= dict.fromkeys(BY_TOKEN)
        facts: dict[str, Any] = {
            "compared": True,
            "own_tokens": stranger is not None,
            "metrics": metrics,
        }
        if tasks is not None:
            whole = open_lm(self.folder, device=self.device)
            facts["tasks"] = tasks.put(whole, NAME, folder / "tasks", stranger)
        return facts

    def as_stranger(
        self, items: Sequence[Item], limit: int
    ) -> "tuple[Stranger, list[Item]] | None":
        """Return the champion's voice and the items in its tokens; None if they are not kept."""
        from components.scoring.questions import read_questions, retell_items
        from components.scoring.voice import load_voice
        from components.scoring.wording import Stranger, prefix_of

        if not self.questions.is_file():
            return None
        voice = load_voice(self.folder)
        own = retell_items(read_questions(self.questions), items, voice)
        return None if own is None else (Stranger(voice, limit, prefix_of(voice)), own)
