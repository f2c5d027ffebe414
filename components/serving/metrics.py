"""What a server counts, for Prometheus. No label holds a text of a request."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from components.serving.engine import Engine

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """Counters of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        labels = ["endpoint", "status"]
        self.requests = Counter(
            "tuneline_requests", "Requests that ended, by status.", labels, registry=registry
        )
        self.seconds = Histogram(
            "tuneline_request_seconds", "Whole requests.", buckets=SECONDS, registry=registry
        )
        self.first = Histogram(
            "tuneline_first_token_seconds", "First token.", buckets=SECONDS, registry=registry
        )
        self.prompt = Counter("tuneline_prompt_tokens", "Tokens read.", registry=registry)
        self.written = Counter("tuneline_completion_tokens", "Tokens written.", registry=registry)
        self.reloads = Counter(
            "tuneline_model_reloads", "Changes of the model.", ["result"], registry=registry
        )
        self.running = Gauge("tuneline_running", "Requests being answered.", registry=registry)
        self.waiting = Gauge("tuneline_waiting", "Requests that wait.", registry=registry)
        self.batch = Gauge(
            "tuneline_rows_per_step", "Rows in a step of the model so far.", registry=registry
        )
        self.model = Gauge(
            "tuneline_model_info",
            "1 for the model in use.",
            ["name", "version", "device", "decoding"],
            registry=registry,
        )

    def text(self, engine: Engine) -> bytes:
        """Return all figures in Prometheus' text format, the engine's as they are now."""
        self.running.set(len(engine.rows))
        self.waiting.set(len(engine.waiting))
        self.batch.set(engine.rows_stepped / engine.steps if engine.steps else 0)
        self.model.clear()
        self.model.labels(
            engine.name,
            engine.version,
            engine.model.device,
            "together" if engine.together else "one after the other",
        ).set(1)
        found: bytes = generate_latest(self.registry)
        return found
