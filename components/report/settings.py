"""What the report shows."""

from pydantic import NonNegativeInt

from components.contracts.settings import Settings


class ReportSettings(Settings):
    """`samples`: how many answers before and after are shown."""

    samples: NonNegativeInt = 20
