"""What is said of a notebook from its document alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from element_jupyter.core.inspection.findings import FindingCode, Severity
from element_jupyter.core.inspection.hidden_state import RunCell, find_hidden_state
from element_jupyter.core.inspection.imported_packages import missing_packages
from element_jupyter.core.inspection.inspecting import of_the_document, read_code


def a_notebook(*sources, counts=None, language="python", tags=()):
    counts = counts or [None] * len(sources)
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": "k", "language": language}},
        "cells": [
            {
                "cell_type": "code",
                "source": source,
                "execution_count": count,
                "metadata": {"tags": list(tags) if index == 0 else []},
            }
            for index, (source, count) in enumerate(zip(sources, counts, strict=True))
        ],
    }


def hidden_state(*counts, sources=None, language="python"):
    sources = sources or [f"x{index} = compute()" for index in range(len(counts))]
    document = a_notebook(*sources, counts=counts, language=language)
    return find_hidden_state(read_code(document).run)


# ------------------------------------------------------------------------------------ hidden state


@pytest.mark.parametrize(
    "counts",
    [
        [],
        [None, None],
        [1, 2, 3],
        [11, 12, 13],
        [7],
    ],
)
def test_a_notebook_run_from_the_top_or_never_has_no_hidden_state(counts):
    assert hidden_state(*counts) is None


@pytest.mark.parametrize(
    ("counts", "cell", "shown"),
    [
        ([15, 2, 3, 4], 0, "[15] is above [2]"),
        ([1, 2, 9, 3, 4], 2, "[9] is above [3]"),
        ([5, 6, 1, 7], 2, "[6] is above [1]"),
        ([4, 3, 2, 1], 0, "[4] is above [3]"),
        ([1, 2, 2, 3], 1, "[2] is above [2]"),
        ([1, None, 3, 2], 2, "[3] is above [2]"),
    ],
)
def test_numbers_that_fall_are_a_warning_at_the_cell_that_stands_out(counts, cell, shown):
    found = hidden_state(*counts)

    assert (found.code, found.severity) == (FindingCode.HIDDEN_STATE, Severity.WARNING)
    assert found.cell == cell
    assert shown in found.message
    assert "run all cells" in found.hint


@pytest.mark.parametrize(
    ("counts", "cell", "said"),
    [
        ([1, None, 2], 1, "A cell was passed over"),
        ([None, None, 1], 0, "2 cells were passed over"),
    ],
)
def test_a_cell_passed_over_is_a_warning(counts, cell, said):
    found = hidden_state(*counts)

    assert (found.severity, found.cell) == (Severity.WARNING, cell)
    assert said in found.message


@pytest.mark.parametrize(
    ("counts", "cell", "said"),
    [
        ([1, 2, None], 2, "The last cell was not run"),
        ([1, None, None], 1, "The last 2 cells were not run"),
        ([1, 2, 5, 6], 2, "Between [2] and [5]"),
    ],
)
def test_what_is_usual_while_one_works_is_only_said(counts, cell, said):
    found = hidden_state(*counts)

    assert (found.severity, found.cell) == (Severity.INFO, cell)
    assert said in found.message


@pytest.mark.parametrize(
    "source",
    [
        "import pandas as pd\nfrom pathlib import Path",
        "%matplotlib inline\nimport numpy\n\nnumpy.set_printoptions(3)",
        "%load_ext autoreload\n%autoreload 2",
        "!pip install pandas",
        "import sys\nsys.path.append('..')",
        '"""What this is about."""\nimport os',
    ],
)
@pytest.mark.parametrize("count", [None, 9])
def test_imports_may_be_run_again_later_or_not_at_all(source, count):
    assert hidden_state(count, 2, 3, 4, sources=[source, "a = 1", "b = 2", "c = 3"]) is None


@pytest.mark.parametrize("source", ["%run other.py", "%cd data", "%%bash\nls", "!ls\nx = 1"])
def test_what_may_change_something_is_not_taken_for_an_import(source):
    assert hidden_state(9, 2, sources=[source, "a = 1"]) is not None


def test_a_number_that_an_import_took_is_not_missing():
    assert hidden_state(5, 3, 4, 6, sources=["import os", "a = 1", "b = 2", "c = 3"]) is None


@pytest.mark.parametrize("source", ["", "  \n", "# later: x = 1\n\n# y"])
def test_a_cell_with_nothing_to_run_is_passed_over_without_a_word(source):
    assert hidden_state(1, None, 2, sources=["a = 1", source, "b = 2"]) is None


@pytest.mark.parametrize("language", ["R", "julia"])
def test_other_languages_have_hidden_state_too(language):
    assert hidden_state(3, 1, language=language).cell == 0


@pytest.mark.parametrize("count", ["1", True, -1, 0, 1.5, [], 10**30])
def test_a_number_that_is_none_does_not_count(count):
    assert hidden_state(count, 1, 2) == hidden_state(None, 1, 2)


def test_format_three_has_its_numbers_under_another_name():
    cells = [
        {"cell_type": "code", "input": f"x = {number}", "prompt_number": number}
        for number in (2, 1)
    ]
    document = {"nbformat": 3, "metadata": {}, "worksheets": [{"cells": cells}]}

    assert find_hidden_state(read_code(document).run).cell == 0


COUNTS = st.lists(st.none() | st.integers(1, 30), max_size=12)


@given(COUNTS)
@settings(deadline=None)
def test_a_warning_is_given_exactly_when_a_run_would_go_another_way(counts):
    found = find_hidden_state([RunCell(index, count) for index, count in enumerate(counts)])

    run = [count for count in counts if count is not None]
    while counts and counts[-1] is None:
        counts.pop()
    from_the_top = run == sorted(set(run)) and len(run) == len(counts)
    assert (found is not None and found.severity is Severity.WARNING) == (not from_the_top)


@given(COUNTS, st.integers(1, 1000))
@settings(deadline=None)
def test_it_does_not_matter_where_the_numbers_start(counts, more):
    first = find_hidden_state([RunCell(index, count) for index, count in enumerate(counts)])
    later = [None if count is None else count + more for count in counts]
    second = find_hidden_state([RunCell(index, count) for index, count in enumerate(later)])

    assert (first is None) == (second is None)
    if first is not None:
        assert (first.severity, first.cell) == (second.severity, second.cell)


@given(st.lists(st.none() | st.integers(1, 30), min_size=1, max_size=12))
@settings(deadline=None)
def test_what_stands_out_is_a_cell_of_the_notebook(counts):
    found = find_hidden_state([RunCell(2 * index, count) for index, count in enumerate(counts)])

    assert found is None or found.cell in range(0, 2 * len(counts), 2)


# -------------------------------------------------------------------------------------- parameters


def test_a_notebook_without_parameters_is_told_how_to_have_some():
    document = a_notebook("x = 1")

    (found,) = of_the_document(document, read_code(document))

    assert (found.code, found.severity) == (FindingCode.NO_PARAMETERS, Severity.INFO)
    assert "tag" in found.hint


def test_a_notebook_with_a_parameters_cell_is_told_nothing():
    document = a_notebook("", tags=["parameters"])

    assert of_the_document(document, read_code(document)) == []


# ------------------------------------------------------------------------------------- named files


def needed(*sources):
    return {file.path for file in read_code(a_notebook(*sources)).names.files}


@pytest.mark.parametrize(
    ("source", "paths"),
    [
        ("open('a.csv')", {"a.csv"}),
        ("with open('data/a', encoding='utf-8') as f: pass", {"data/a"}),
        ("df = pd.read_csv('a.csv').dropna()", {"a.csv"}),
        ("df = pd.read_parquet(path='data')", {"data"}),
        ("PATH = 'data/a.csv'", {"data/a.csv"}),
        ("D = 'data'\ndf = pd.read_csv(f'{D}/a.csv')", {"data/a.csv"}),
        ("D = 'data/'\ndf = pd.read_csv(D + 'a.csv')", {"data/a.csv", "data"}),
        ("D = Path('data')\ndf = pd.read_csv(D / 'x' / 'a.csv')", {"data/x/a.csv", "data"}),
        ("df = read(os.path.join('data', 'a.csv'))", {"data/a.csv"}),
        ("x = Path.cwd().parent / 'a.csv'", {"../a.csv"}),
        ("x = Path('..').resolve().parents[1] / 'a.csv'", {"../../../a.csv"}),
        ("x = Path.home() / 'a.csv'", {"~/a.csv"}),
        ("x = os.path.expanduser('~/a.csv')", {"~/a.csv"}),
        ("fs = ['a.csv', 'b.csv']", {"a.csv", "b.csv"}),
        ("a, b = 'a.csv', 'b.csv'", {"a.csv", "b.csv"}),
        ("fs = {'a': 'a.csv'}", {"a.csv"}),
        ("for f in ['a.csv', 'b.csv']: pass", {"a.csv", "b.csv"}),
        ("ds = [pd.read_csv(f) for f in ('a.csv', 'b.csv')]", {"a.csv", "b.csv"}),
        ("def load(file='a.csv'):\n    return json.load(open('b.json'))", {"a.csv", "b.json"}),
        ("glob.glob('data/*.csv')", {"data/*.csv"}),
        ("shutil.copy('a.csv', 'b.csv')", {"a.csv"}),
        ("cfg['path'] = 'a.yml'", {"a.yml"}),
        ("%run lib/a.py", {"lib/a.py"}),
        ("%%time\ndf = pd.read_csv('a.csv')", {"a.csv"}),
        ("if x:\n    !ls\n    pd.read_csv('a.csv')", {"a.csv"}),
        ("files = !ls\npd.read_csv('a.csv')", {"a.csv"}),
    ],
)
def test_what_code_reads_or_names_is_needed(source, paths):
    assert needed(source) == paths


@pytest.mark.parametrize(
    "source",
    [
        "",
        "x = 1",
        "'a.csv'",
        "print('a.csv')",
        "df['a.csv']",
        "name == 'a.csv'",
        "x = 'https://example.org/a.csv'",
        "x = 'no file here'",
        "x = 'data'",
        "df.to_csv('a.csv')",
        "OUT = 'a.csv'\ndf.to_csv(OUT)",
        "OUT = Path('out')\nOUT.mkdir()\ndf.to_csv(OUT / 'a.csv')\npd.read_csv('out/b.csv')",
        "open('a.csv', 'w').write('x')",
        "with open('a.csv', mode='a') as f: pass",
        "Path('a.txt').write_text('x')",
        "plt.savefig('a.png')",
        "joblib.dump(m, 'a.pkl')\nm = joblib.load('a.pkl')",
        "logging.basicConfig(filename='a.log')",
        "if not Path('a.csv').exists():\n    fetch()\ndf = pd.read_csv('a.csv')",
        "if os.path.exists('data'):\n    df = pd.read_csv('data/a.csv')",
        "train(output='a.pt')",
        "raise ValueError('a.csv')",
        "%%bash\ncat a.csv",
        "!cat a.csv",
        "'a.csv' = = 2",
        "def f(:\n",
        "while not Path('x.toml').exists(): os.chdir('..')\npd.read_csv('a.csv')",
        "x = '\\ud800.csv'",
        "x = 'a\\0.csv'",
    ],
)
def test_what_code_writes_asks_after_or_only_says_is_not_needed(source):
    assert needed(source) == set()


def test_a_notebook_that_goes_elsewhere_names_files_from_there():
    assert needed("%cd ..", "pd.read_csv('a.csv')") == {"../a.csv"}
    assert needed("os.chdir('sub')\npd.read_csv('a.csv')") == {"sub/a.csv"}
    assert needed("os.chdir(where)\npd.read_csv('a.csv')\nopen('/b.csv')") == {"/b.csv"}


def test_what_is_read_before_it_is_written_is_needed():
    assert needed("df = pd.read_csv('a.csv')", "df.to_csv('a.csv')") == {"a.csv"}


def test_a_file_is_named_where_it_first_is():
    (file,) = read_code(a_notebook("x = 1", "P = 'a.csv'", "open(P)")).names.files

    assert (file.cell, file.is_read) == (1, True)


def test_code_that_no_person_wrote_takes_no_time():
    assert needed("x = " + "+".join(["'a'"] * 5_000)) == set()
    assert needed("x = " + "[" * 150 + "]" * 150, "y" * 3_000_000) == set()
    assert len(needed(*(f"x = 'a{number}.csv'" for number in range(2_000)))) == 500


WORDS = st.sampled_from(
    [
        *(
            "open",
            "Path",
            "os.path.join",
            "f'{x}'",
            "'a/b.csv'",
            "x",
            "..",
            "~",
            "/",
            "+",
            "=",
            ",",
        ),
        *("(", ")", "[", "]", "{", "}", ":", "\n", "\n    ", " ", "%", "%%", "%cd", "!", "?", "#"),
        *("import", "from", "def f", "for x in", "with", "lambda", "match x", ".parents[3]", "\\"),
    ]
)


@given(st.lists(st.lists(WORDS, max_size=30).map("".join) | st.text(), max_size=4))
@settings(max_examples=300, deadline=None)
def test_no_text_of_cells_is_too_strange(sources):
    code = read_code(a_notebook(*sources))

    assert all(file.path.isprintable() for file in code.names.files)
    assert all(0 <= file.cell < len(sources) for file in code.names.files)


# ---------------------------------------------------------------------------------------- packages


def packages(*sources):
    return [name for name, _ in read_code(a_notebook(*sources)).packages]


def test_what_is_imported_without_condition_must_be_there():
    assert packages("import pandas as pd, json", "from sklearn.x import y\nimport a.b") == [
        *("pandas", "sklearn", "a"),
    ]


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    import pandas\nexcept ImportError:\n    pass",
        "if fast:\n    import pandas",
        "def f():\n    import pandas",
        "from . import pandas",
        "%pip install pandas\nimport pandas",
        "!pip install -q pandas\nimport pandas",
        "!{sys.executable} -m pip install pandas\nimport pandas",
        "!git clone https://example.org/pandas\nimport pandas",
        "import sys\nsys.path.append(there)\nimport pandas",
        "%cd elsewhere\nimport pandas",
        "%run setup.ipynb\nimport pandas",
        "%%bash\npip install pandas",
        "import json, os.path",
    ],
)
def test_of_what_may_come_from_elsewhere_nothing_is_said(source):
    assert packages(source) == []


def test_one_cell_that_installs_is_enough():
    assert packages("import pandas", "!pip install pandas") == []


def test_missing_packages_are_one_sentence():
    there = {"pandas"}.__contains__

    (found,) = missing_packages([("pandas", 0), ("a", 1), ("b", 2)], there, "requirements.txt")

    assert (found.code, found.severity, found.cell) == (
        *(FindingCode.NO_MODULE, Severity.WARNING, 1),
    )
    assert found.message == (
        "'a' and 'b' are imported, and the notebook's environment does not have them."
    )
    assert "requirements.txt" in found.hint
    assert missing_packages([("pandas", 0)], there, "") == []
