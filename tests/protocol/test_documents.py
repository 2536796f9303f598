"""What the documents say about the code is true where it can be checked."""
import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as f:
        return f.read()


def test_every_cause_stands_in_the_operators_table():
    causes = re.findall(r'X\(\w+,\s*"([^"]+)",\s*(NULL|"[^"]*"),\s*(\d+),\s*"([^"]*)"\)', read("common", "fail.h"))
    assert len(causes) > 60
    table = read("docs", "operating.md")
    for word, condition, code, text in causes:
        told = "none: an ordinary end" if condition == "NULL" else "`%s`" % condition.strip('"')
        assert "| `%s` | %s | %s | %s |" % (word, told, code, text) in table, word


def test_links_of_the_documents_lead_somewhere():
    for name in ["README.md"] + ["docs/" + f for f in os.listdir(os.path.join(ROOT, "docs")) if f.endswith(".md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", read(name)):
            assert os.path.exists(os.path.join(ROOT, os.path.dirname(name), target)), "%s: %s" % (name, target)
