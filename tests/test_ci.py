"""Tests of the stages of `.ci/run`, and of the files that must agree with them: workflow, constraints, hooks."""

from __future__ import annotations

import configparser
import importlib.util
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[1]
RUN = ROOT / ".ci" / "run"
WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
CONSTRAINTS = (ROOT / "constraints.txt").read_text()
HOOKS = (ROOT / ".pre-commit-config.yaml").read_text()

pytestmark = pytest.mark.any_backend


def ci(*arguments: str, script: pathlib.Path = RUN) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", str(script), *arguments], capture_output=True, text=True)


def matrices(workflow: str) -> list[list[str]]:
    """Returns the stages of each job that runs several stages."""
    return [re.findall(r"[\w-]+", names) for names in re.findall(r"^ +stage: \[(.*?)\]", workflow, re.M | re.S)]


def differs(workflow: str) -> bool:
    default = ci("--list").stdout.split()
    on_request = [name for name in ci("--list-all").stdout.split() if name not in default]
    return matrices(workflow) != [default, on_request]


def test_the_workflow_runs_every_stage():
    assert not differs(WORKFLOW)
    assert re.findall(r"bash \.ci/run (.*)", WORKFLOW) == ["${{ matrix.stage }}"] * 2


@pytest.mark.parametrize(("old", "new"), [("lint, ", ""), ("[nightly, full]", "[full]"), ("tests-jax]", "tests-jaxx]")])
def test_a_difference_between_the_workflow_and_the_stages_is_found(old, new):
    assert differs(WORKFLOW.replace(old, new, 1))


def test_jobs_of_a_single_python_belong_to_stages():
    extra = re.findall(r"- stage: (\S+)\n +python: \"(.*)\"", WORKFLOW)
    versions = {
        name: re.search(rf"^stage_{name}\(\).*?python_of (\S+?)\)", RUN.read_text(), re.M | re.S)[1]
        for name, _ in extra
    }
    assert dict(extra) == versions


def test_every_stage_is_a_function_and_every_function_a_stage():
    functions = re.findall(r"^stage_(\w+)\(\)", RUN.read_text(), re.MULTILINE)
    assert sorted(functions) == sorted(name.replace("-", "_") for name in ci("--list-all").stdout.split())


@pytest.mark.parametrize("names", [["nonsense"], ["lint", "nonsense"], ["lin"], ["lint site"], [""], ["--help"]])
def test_an_unknown_stage_is_refused_before_anything_runs(names):
    done = ci(*names)
    assert done.returncode == 2
    assert f"no stage '{names[-1]}'" in done.stderr
    assert all(name in done.stderr for name in ci("--list-all").stdout.split())
    assert not done.stdout


@pytest.fixture
def planted(tmp_path):
    """Returns a function that runs stages whose commands are replaced."""

    def run(*names: str, **commands: str) -> subprocess.CompletedProcess[str]:
        script = tmp_path / ".ci" / "run"
        script.parent.mkdir(exist_ok=True)
        functions = "".join(f"stage_{name}() {{\n{body}\n}}\n" for name, body in commands.items())
        before, after = RUN.read_text().split("# --- Runner\n")
        script.write_text(f"{before}{functions}{after}")
        return ci(*names, script=script)

    return run


def results(output: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w-]+) +(ok|FAILED) +\d+$", output, re.MULTILINE))


@pytest.mark.parametrize(
    "failing",
    ["false", "false | cat", "x=$(false)", "echo $UNSET_VARIABLE", "(exit 3)", "helper() { false; true; }; helper"],
)
def test_the_first_failing_command_ends_its_stage_but_not_the_run(planted, failing):
    done = planted("lint", "site", lint=f"echo begun\n{failing}\necho unreachable", site="echo the next stage")
    assert done.returncode == 1
    assert "begun" in done.stdout
    assert "unreachable" not in done.stdout
    assert "the next stage" in done.stdout
    assert results(done.stdout) == {"lint": "FAILED", "site": "ok"}


def test_the_tests_of_all_stages_are_summed(planted):
    done = planted(
        "tests-torch",
        "lint",
        "tests-jax",
        tests_torch="echo '12 passed, 3 skipped, 1 warning in 61.20s (0:01:01)'",
        lint="echo '7 passed the check in 3s, all good'",
        tests_jax=r"printf '\033[31m== \033[1m2 failed\033[0m, 5 passed, 1 error in 3.00s ==\033[0m\n' >&2; exit 1",
    )
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "17 passed, 3 failed"
    assert results(done.stdout) == {"tests-torch": "ok", "lint": "ok", "tests-jax": "FAILED"}


def test_without_names_all_default_stages_run_in_order(planted):
    names = ci("--list").stdout.split()
    done = planted(**{name.replace("-", "_"): f"echo here is {name}" for name in ci("--list-all").stdout.split()})
    assert done.returncode == 0
    assert re.findall(r"here is (.*)", done.stdout) == names
    assert list(results(done.stdout)) == names
    assert set(results(done.stdout).values()) == {"ok"}
    assert done.stdout.splitlines()[-1] == "0 passed, 0 failed"


def normalized(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


def test_every_requirement_has_an_exact_version():
    pins = [line for line in CONSTRAINTS.splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.!]+", pin) for pin in pins)  # Pins contain neither `+cpu` nor a path.
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lists = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    wanted = {normalized(line) for text in lists for line in text.split("\n") if line.strip()}
    assert wanted - {normalized(pin) for pin in pins} == {"tensorflow"}  # CI installs `tensorflow-cpu`.


def test_hooks_have_the_ruff_of_ci():
    spec = importlib.util.spec_from_file_location("renew_constraints", ROOT / ".ci" / "renew_constraints.py")
    renew = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(renew)
    assert renew.PYTORCH in CONSTRAINTS.splitlines()
    assert renew.with_ruff_of(CONSTRAINTS, HOOKS) == HOOKS
    assert "rev: v9.9.9\n" in renew.with_ruff_of("ruff==9.9.9\n", HOOKS)
    freeze = "b==1.0+cpu\n# a comment\n-e here\nA==2\n"
    assert renew.constraints(freeze) == f"{renew.HEADER}A==2\nb==1.0\n"
