"""The champion, the exported file that is in use now, on the items of its challengers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contracts.events import Context
from components.runtime.ort import OrtLM
from components.runtime.session import Device
from components.scoring.items import Item
from components.scoring.metrics import summarise
from components.scoring.tables import write_scores

if TYPE_CHECKING:
    from components.verification.variant_tasks import VariantTasks

NAME = "champion"


@dataclass(frozen=True)
class Rival:
    """The champion's folder, and that of a challenger whose token ids it must understand."""

    folder: Path
    challenger: Path
    device: Device

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

        A champion with another tokenizer was made from another base model: items are token ids, so
        it cannot answer them, and that is said instead of failing the run.
        """
        from components.scoring.score import score_items

        if not self.reads_the_same:
            reason = "the champion has another tokenizer than the exported files"
            context.events.note(f"not compared with the champion: {reason}")
            return {"compared": False, "reason": reason}
        lm = OrtLM(self.folder, threads=1, device=self.device)
        scores = score_items(
            lm, items, prefix_token=prefix, events=context.events, label="verify champion"
        )
        write_scores(folder / f"{NAME}.parquet", scores)
        facts: dict[str, Any] = {"compared": True, "metrics": summarise(scores)}
        if tasks is not None:
            whole = OrtLM(self.folder, device=self.device)
            facts["tasks"] = tasks.put(whole, NAME, folder / "tasks")
        return facts
