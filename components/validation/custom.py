"""Our expectations as Great Expectations classes, so that each has its own type in Data Docs.

Importing this module imports Great Expectations: do it where a suite is run.
"""

from great_expectations.expectations.core.expect_column_to_exist import ExpectColumnToExist
from great_expectations.expectations.core.expect_column_values_to_be_between import (
    ExpectColumnValuesToBeBetween,
)
from great_expectations.expectations.core.expect_column_values_to_be_null import (
    ExpectColumnValuesToBeNull,
)


class ExpectColumnOfTheFormat(ExpectColumnToExist):
    """The source has a column that the recipe's format or splits name."""


class ExpectNoNull(ExpectColumnValuesToBeNull):
    """No row lacks a value in a column that the format needs."""


class ExpectRowsToFitTheFormat(ExpectColumnValuesToBeNull):
    """An example can be made of every row."""


class ExpectKnownLabels(ExpectColumnValuesToBeNull):
    """Every label is one of the recipe's."""


class ExpectNoEmptyText(ExpectColumnValuesToBeNull):
    """No text and no answer is empty."""


class ExpectSoundEncoding(ExpectColumnValuesToBeNull):
    """No text was decoded wrongly."""


class ExpectNoHtml(ExpectColumnValuesToBeNull):
    """No text holds remains of HTML."""


class ExpectLength(ExpectColumnValuesToBeNull):
    """Every text has the length that the recipe allows."""


class ExpectScript(ExpectColumnValuesToBeNull):
    """Every text is written in the recipe's scripts."""


class ExpectLanguage(ExpectColumnValuesToBeNull):
    """Every text is written in the recipe's languages."""


class ExpectNoPersonalData(ExpectColumnValuesToBeNull):
    """No text holds personal data or secrets."""


class ExpectNoToxicity(ExpectColumnValuesToBeNull):
    """No text is made of toxic words."""


class ExpectOneLabelPerText(ExpectColumnValuesToBeNull):
    """No text comes with two labels."""


class ExpectNoDuplicates(ExpectColumnValuesToBeNull):
    """No text comes twice."""


class ExpectNoNearDuplicates(ExpectColumnValuesToBeNull):
    """No text comes again with small changes."""


class ExpectNoLeakage(ExpectColumnValuesToBeNull):
    """No text stands in two splits."""


class ExpectNoNearLeakage(ExpectColumnValuesToBeNull):
    """No text stands nearly the same in two splits."""


class ExpectNoPastTestRows(ExpectColumnValuesToBeNull):
    """No row to train on was a test row in an earlier run."""


class ExpectNoContamination(ExpectColumnValuesToBeNull):
    """No row to train on stands in an evaluation set."""


class ExpectEnoughRows(ExpectColumnValuesToBeBetween):
    """Enough rows are left."""


class ExpectFewQuarantined(ExpectColumnValuesToBeBetween):
    """Not too many rows are quarantined."""


class ExpectRowsInSplit(ExpectColumnValuesToBeBetween):
    """No split is empty."""


class ExpectLabelShare(ExpectColumnValuesToBeBetween):
    """No label is too rare."""


class ExpectNoDrift(ExpectColumnValuesToBeBetween):
    """The data is like the last that was accepted."""


CLASSES = {
    "columns": ExpectColumnOfTheFormat,
    "not_null": ExpectNoNull,
    "format": ExpectRowsToFitTheFormat,
    "label": ExpectKnownLabels,
    "not_empty": ExpectNoEmptyText,
    "encoding": ExpectSoundEncoding,
    "html": ExpectNoHtml,
    "length": ExpectLength,
    "script": ExpectScript,
    "language": ExpectLanguage,
    "personal_data": ExpectNoPersonalData,
    "toxicity": ExpectNoToxicity,
    "label_conflict": ExpectOneLabelPerText,
    "duplicate": ExpectNoDuplicates,
    "near_duplicate": ExpectNoNearDuplicates,
    "leakage": ExpectNoLeakage,
    "near_leakage": ExpectNoNearLeakage,
    "holdout": ExpectNoPastTestRows,
    "contamination": ExpectNoContamination,
    "min_rows": ExpectEnoughRows,
    "quarantined_share": ExpectFewQuarantined,
    "split_rows": ExpectRowsInSplit,
    "label_share": ExpectLabelShare,
    "drift": ExpectNoDrift,
}
