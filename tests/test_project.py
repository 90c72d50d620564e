"""Claims about the project's own files: what is installed, and what its pages promise."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import bcnet_lib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MAKEFILE = (ROOT / "Makefile").read_text()
DISTRIBUTION = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml"}


def requirements(*extras: str) -> list[Requirement]:
    texts = list(PROJECT["dependencies"])
    for extra in extras:
        texts += PROJECT["optional-dependencies"][extra]
    found = [Requirement(text) for text in texts]
    inner = {extra for r in found if r.name == PROJECT["name"] for extra in r.extras}
    others = [r for r in found if r.name != PROJECT["name"]]
    return others + [r for extra in sorted(inner) for r in _extra(extra)]


def _extra(name: str) -> list[Requirement]:
    return [Requirement(text) for text in PROJECT["optional-dependencies"][name]]


def pins() -> dict[str, str]:
    found = re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M)
    return {canonicalize_name(name): version for name, version in found}


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", MAKEFILE, re.M))


def test_every_requirement_has_a_tested_version_inside_its_range():
    for requirement in requirements("book", "test"):
        version = pins()[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} against {version}"


def test_torch_and_torchvision_are_pinned_as_a_pair_for_every_machine():
    for name in ("torch", "torchvision"):
        assert re.fullmatch(r"[\d.]+", pins()[name]), f"{name} is pinned to a build of one machine"


def test_conda_and_make_install_the_same():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = (entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert pip == ["-c constraints.txt", "-e .[book,test]"]
    assert '-c constraints.txt -e ".[book,test]"' in MAKEFILE


def test_conda_s_python_is_supported():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (python,) = (e for e in environment["dependencies"] if str(e).startswith("python="))
    supported = Requirement(f"python{PROJECT['requires-python']}").specifier
    assert supported.contains(python.removeprefix("python="))
    assert not supported.contains("3.10") and not supported.contains("3.14")


def test_the_library_imports_only_what_it_requires():
    """At the top of a file, that is; inside a function also what an optional extra brings."""
    required = {canonicalize_name(requirement.name) for requirement in requirements()}
    extras = ("pruning", "scale", "export", "detection")
    optional = {canonicalize_name(requirement.name) for requirement in requirements(*extras)}
    for path in (ROOT / "bcnet_lib").rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            else:
                continue
            for name in names:
                top = name.split(".")[0]
                if top in sys.stdlib_module_names or top == "bcnet_lib":
                    continue
                distribution = canonicalize_name(DISTRIBUTION.get(top, top))
                allowed = required if node in tree.body else optional
                assert distribution in allowed, f"{path.name} imports {top}"


def test_versions_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == bcnet_lib.__version__
    assert citation["license"] == PROJECT["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


def test_the_paper_is_cited_with_all_its_authors():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    names = [[a["family-names"] for a in ref["authors"]] for ref in citation["references"]]
    assert names == [
        ["Su", "You", "Xie", "Wang", "Qian", "Zhang", "Xu"],
        ["Su", "You", "Wang", "Qian", "Zhang", "Xu"],
    ]


def commands(page: str) -> str:
    """The lines of a page that a reader would type."""
    text = (ROOT / page).read_text()
    if not page.endswith(".md"):
        return text
    found = re.findall(r"```bash\n(.*?)```|`([^`\n]+)`", text, re.S)
    return "\n".join(block or inline for block, inline in found)


@pytest.mark.parametrize("page", ["README.md", "book/intro.md", ".ci/run"])
def test_every_make_command_on_a_page_exists(page):
    named = set(re.findall(r"^\s*make ([a-z-]+)", commands(page), re.M))
    assert named, f"{page} names no make target"
    assert named <= targets()


def test_targets_are_phony_and_explained():
    phony = set(re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.M).group(1).split())
    explained = set(re.findall(r"^([a-z-]+):.*## \S", MAKEFILE, re.M))
    assert targets() == phony == explained
    assert {"book", "test", "notebooks", "strict", "bench", "clean", "lint"} <= targets()
