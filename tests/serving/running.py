"""A server in a thread of this process, and what tests ask it."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.serving.holder import Holder

ROOT = Path(__file__).resolve().parents[2]
KEY = "sk-a-key-for-tests"
SYSTEM = {"role": "system", "content": "good, fair or poor?"}
Start = Callable[..., "Running"]


@dataclass
class Running:
    """A server in a thread of this process."""

    holder: Holder
    url: str

    def client(self, key: str = KEY, **how: Any) -> Any:
        from openai import OpenAI

        return OpenAI(base_url=f"{self.url}/v1", api_key=key, **{"max_retries": 0, **how})

    def chat(self, text: str, **how: Any) -> Any:
        messages = [{"role": "user", "content": text}]
        how = {"model": "tiny", "max_tokens": 8, **how}
        return self.client().chat.completions.create(messages=messages, **how)

    def hold(self) -> threading.Event:
        """Let the engine take no step until the event that is returned is set."""
        going = threading.Event()
        cache = self.holder.engine._cache
        step = cache.step

        def waits(tokens: Any) -> Any:
            assert going.wait(30)
            return step(tokens)

        cache.step = waits  # type: ignore[method-assign]
        return going


def until(true: Callable[[], Any], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def asked(text: str) -> list[dict[str, str]]:
    return [SYSTEM, {"role": "user", "content": text}]
