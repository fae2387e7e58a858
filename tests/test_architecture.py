"""Tests of the source code: subpackages, imports, private names, file sizes and documentation."""

from __future__ import annotations

import ast
import dataclasses
import functools
import graphlib
import inspect
import os
import pathlib
import re
import subprocess
import sys

import keras
import pytest

import keras_reg
from tests.conformance.test_every_class_is_listed import public_classes
from tests.support import architecture, imports

pytestmark = pytest.mark.any_backend
ROOT = imports.ROOT
FILES = sorted(ROOT.rglob("*.py"))
TREES = {file: ast.parse(file.read_text()) for file in FILES}

# The subpackages that each subpackage may import, in addition to itself. `docs/architecture.md` describes them.
BELOW = {
    "_keras": set(),
    "data": set(),
    "random": set(),
    "distribute": {"_keras"},
    "ops": {"_keras", "random"},
    "_memory": {"_keras", "ops"},
    "constraints": {"ops"},
    "losses": {"ops"},
    "metrics": {"ops"},
    "optimizers": {"_keras", "ops"},
    "tune": {"_keras", "ops", "random"},
    "regularizers": {"_keras", "ops", "tune"},
    "layers": {"_keras", "ops", "random", "tune"},
    "training": {"_keras", "_memory", "data", "ops"},
    "surgery": {"_keras", "constraints", "layers", "ops", "regularizers"},
    "models": {"_keras", "layers", "ops", "random", "training"},
}
BELOW["callbacks"] = set(BELOW) - {"constraints", "distribute", "losses", "metrics", "models"}
BELOW["compare"] = set(BELOW)
# Top-level files, and the subpackages that they may import. All subpackages may import these files, except the first
# two.
BESIDE = {
    "__init__": set(BELOW),
    "__main__": {"compare"},
    "_plotting": set(),
    "_registry": set(),
    "_types": set(),
    "_validation": set(),
    "_warnings": set(),
    "version": set(),
}

FORBIDDEN = re.compile(r"keras\.src|tensorflow\.python|jax\._src|torch\._|absl|tree\.")
# Exceptions for private names of other packages: the file, the name, and a test that fails once it is not needed.
_CANARIES = "_keras/test_keras_faults.py::test_keras_fault_"
PRIVATE_USES = {
    ("_keras/call_stack.py", "sys._getframe"): f"{_CANARIES}callbacks_do_not_know_each_other",
    ("_keras/callback_model.py", "callback._model"): f"{_CANARIES}reading_callback_model_is_needed_and_costs_an_update",
    ("_keras/replicas.py", "called._flatten_layers"): f"{_CANARIES}replicas_share_losses_of_layers",
    ("_keras/replicas.py", "layer._losses"): f"{_CANARIES}replicas_share_losses_of_layers",
    ("_keras/trainer.py", "'_compile_config'"): f"{_CANARIES}public_compile_configuration_needs_serializable_arguments",
    (
        "models/transformer_encoder.py",
        "super()._compute_attention",
    ): f"{_CANARIES}attention_dropout_is_replaced_by_overriding_a_private_method",
}
# Replaced attributes of user objects: the file, the attribute, and a test that fails without the replacement.
_OBJECTIVE = "training/test_objective.py::test_objective_callback_restores_model_after_fit"
_APPLIED = "surgery/test_regularize.py::test_applied_regularizer_takes_effect_before_and_after_fit"
_SAVED_LORA = "layers/test_saving.py::test_lora_adapts_effective_kernel_of_wrapped_layer"
REPLACED = {
    # The layer reports its draws, because a callback can only reach them while the step is traced.
    ("callbacks/noise_mask.py", "self._layer.on_draw"): (
        "callbacks/test_noise_mask.py::test_noise_mask_step_matches_golden_loss_and_gradients"
    ),
    # Keras applies constraints after each update, and has no other hook at this point.
    ("callbacks/polarization.py", "scale.constraint"): (
        "callbacks/test_scale_penalty.py::test_polarization_clips_scales_and_restores_constraints"
    ),
    # Layers copy initializers by class and configuration, so a wrapped initializer must have the same class.
    ("layers/_kernels.py", "mapped.__class__"): (
        "layers/test_supported_layers.py::test_wrapped_layers_begin_with_plain_forward_pass"
    ),
    # Keras would merge LoRA into the parameter, because it mistakes the parameter for the kernel.
    ("layers/_reparameterized.py", "leaf.load_own_variables"): _SAVED_LORA,
    ("layers/_reparameterized.py", "leaf.save_own_variables"): _SAVED_LORA,
    # The user's regularizers and constraints apply to the effective kernel and not to the parameter.
    ("layers/_reparameterized.py", "variable.constraint"): (
        "layers/test_weight_compander.py::test_weight_compander_applies_kernel_constraint_to_weight"
    ),
    ("layers/_reparameterized.py", "variable.regularizer"): (
        "surgery/test_regularize_reparameterized.py::test_applied_regularizer_acts_on_weight_or_parameter_of_compander"
    ),
    # A built layer refuses new state.
    ("surgery/_anchors.py", "vars(layer)[attribute]"): (
        "regularizers/test_anchored.py::test_reapplied_anchored_l2_anchors_at_current_weights"
    ),
    # Replacing the regularizer is the purpose of `apply_regularizer`.
    ("surgery/regularize.py", "kernel.variable.regularizer"): (
        "surgery/test_regularize_reparameterized.py::test_applied_regularizer_acts_on_weight_or_parameter_of_compander"
    ),
    ("surgery/regularize.py", "variable.regularizer"): _APPLIED,
    # These are documented extension points of a model. They are overridden on the instance while `fit` runs.
    ("training/_objective.py", "model.compute_loss"): _OBJECTIVE,
    ("training/_objective.py", "model.get_metrics_result"): _OBJECTIVE,
    ("training/_objective.py", "model.make_train_function"): _OBJECTIVE,
    ("training/_objective.py", "model.train_function"): _OBJECTIVE,
    ("training/_objective.py", "self.model.test_function"): _OBJECTIVE,
    ("training/_objective.py", "self.model.train_function"): _OBJECTIVE,
    ("training/_objective.py", "self.model.train_step"): _OBJECTIVE,
    # A stock layer reads its rate as a constant. `unbind` restores the layer.
    ("tune/binding.py", "variable.regularizer"): "tune/test_binding.py::test_unbind_restores_model",
    ("tune/binding.py", "vars(layer)['call']"): "tune/test_binding.py::test_unbind_restores_model",
    ("tune/binding.py", "vars(layer)['get_config']"): "tune/test_binding.py::test_unbind_restores_model",
}
# Names of attributes that define behavior. Assigning one of them changes a user object.
WATCHED = {"__class__", "call", "compute_loss", "constraint", "fit", "get_config", "get_metrics_result", "on_draw"}
WATCHED |= {"load_own_variables", "make_test_function", "make_train_function", "regularizer", "save_own_variables"}
WATCHED |= {"test_function", "test_step", "train_function", "train_step"}
# Known failures, by name: files that still have to be split.
TOO_LONG: set[str] = set()
UNDOCUMENTED: dict[str, str] = {}
# Clocks, and random numbers without a fixed seed. They make tests flaky.
UNREPEATABLE = {"datetime", "random", "secrets", "time", "uuid"}
# Files below `tests` that may import them, with the reason.
MAY_BE_UNREPEATABLE = {"mutants/__main__.py": "`--sample` draws faults by a seed that it prints"}


def upward_imports(tree: ast.AST, of: str) -> list[str]:
    """Returns relative imports, and imports of subpackages that `of` must not import."""
    wrong = []
    for name in imports.imported_names(tree):
        parts = name.split(".")
        target = parts[1] if parts[0] == "keras_reg" and len(parts) > 1 else None
        allowed = BELOW.get(of, BESIDE.get(of, set())) | {of}
        allowed |= set(BESIDE) - {"__init__", "__main__"} if of in BELOW or of == "__init__" else set()
        known = target in BELOW or target in BESIDE
        if name.startswith(".") or (known and target not in allowed):
            wrong.append(name)
    return wrong


def circles(graph: dict[str, set[str]]) -> list[str]:
    """Returns the modules of an import cycle, or an empty list."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


@functools.cache
def classes() -> dict[str, list[ast.ClassDef]]:
    """Returns the classes of the package, by name."""
    found: dict[str, list[ast.ClassDef]] = {}
    for node in (node for tree in TREES.values() for node in ast.walk(tree)):
        if isinstance(node, ast.ClassDef):
            found.setdefault(node.name, []).append(node)
    return found


def names_of(cls: ast.ClassDef) -> set[str]:
    """Returns the names that a class and its bases in the package define or assign to `self`."""
    found = set()
    for node in ast.walk(cls):
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    bases = [ast.unparse(base) for base in cls.bases]
    inherited = [base for name in bases if not name.startswith("keras.") for base in classes().get(name, [])]
    return found.union(*(names_of(base) for base in inherited if base is not cls))


def private_names(tree: ast.AST) -> list[str]:
    """Returns private names of other objects that a file uses.

    A class may use on `self` what it, or a base in the package, defines. A file may use on other objects what its own
    classes define. Private modules of the package are for the whole package.
    """
    found = [name for name in imports.imported_names(tree) if FORBIDDEN.match(name)]
    own = set().union(*(names_of(node) for node in ast.walk(tree) if isinstance(node, ast.ClassDef)))
    own |= {name.rpartition(".")[2] for name in imports.imported_names(tree)}
    strings = ("getattr", "setattr", "hasattr", "delattr")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_private(node.attr):
            text = ast.unparse(node)
            if FORBIDDEN.search(text) or node.attr not in own:
                found.append(text)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in strings:
            name = node.args[1].value if isinstance(node.args[1], ast.Constant) else ""
            if _is_private(name) and name not in own:
                found.append(repr(name))
    for cls in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        for node in ast.walk(cls):
            of_self = isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("self", "cls", "super()")
            if of_self and _is_private(node.attr) and node.attr not in names_of(cls):
                found.append(ast.unparse(node))
            elif of_self and ast.unparse(node.value) == "super()" and _is_private(node.attr):
                bases = [base for name in map(ast.unparse, cls.bases) for base in classes().get(name, [])]
                if node.attr not in set().union(*map(names_of, bases)):
                    found.append(ast.unparse(node))
    return sorted(set(found))


def replaced_names(tree: ast.AST) -> list[str]:
    """Returns the attributes of other objects that a file replaces, by `vars(...)[...]` or a name in `WATCHED`."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Subscript, ast.Attribute)) or not isinstance(node.ctx, ast.Store):
            continue
        owner = ast.unparse(node.value)
        watched = isinstance(node, ast.Attribute) and node.attr in WATCHED and owner not in ("self", "cls")
        if watched or re.match(r"vars\([\w.]+\)$", owner):
            found.append(ast.unparse(node))
    return sorted(set(found))


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def functions(tree: ast.AST) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def lines_without_docstring(function: ast.FunctionDef) -> int:
    first = function.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str)
    docstring = first.end_lineno - first.lineno + 1 if documented else 0
    return function.end_lineno - function.lineno + 1 - docstring


def by_file(check) -> dict[str, list]:
    """Returns the findings of a check for each file of the package that has any."""
    found = {str(file.relative_to(ROOT)): check(file) for file in FILES}
    return {file: what for file, what in found.items() if what}


def test_package_has_only_known_rooms_and_files_beside_them():
    assert {imports.room(imports.module_name(file)) for file in FILES} == {*BELOW, *BESIDE}


def test_room_check_finds_unknown_file(tmp_path):
    assert imports.room("keras_reg.helpers") not in {*BELOW, *BESIDE}
    assert imports.room("keras_reg.helpers.x") not in {*BELOW, *BESIDE}


def test_package_imports_run_downwards_only():
    assert not by_file(lambda file: upward_imports(TREES[file], imports.room(imports.module_name(file))))


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("ops", "from keras_reg.training import Batch"),
        ("ops", "import keras_reg.callbacks"),
        ("ops", "from . import x"),
        ("ops", "from keras_reg import data"),
        ("_keras", "def f():\n    from keras_reg.ops import bounded"),
        ("_memory", "if TYPE_CHECKING:\n    from keras_reg.training.terms import Batch"),
        ("_validation", "from keras_reg.tune import Float"),
        ("_registry", "from keras_reg import _validation"),
        ("layers", "from keras_reg import __main__"),
    ],
)
def test_import_check_finds_upward_import(room, source):
    assert upward_imports(ast.parse(source), room)


def test_package_rooms_import_all_that_they_may():
    """Checks that all permissions are used. Unused ones would hide new upward imports."""
    used = imports.rooms()
    assert {name: BELOW[name] - used[name] for name in BELOW if name != "compare" and BELOW[name] - used[name]} == {}


def test_package_has_no_circle_of_imports():
    assert not circles(imports.graph())


def test_circle_check_finds_circle():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})


@functools.cache
def defined_names() -> dict[str, set[str]]:
    """Returns the names that each module of the package defines itself. Packages, which export, are left out."""
    found = {}
    for file, tree in TREES.items():
        if file.name != "__init__.py":
            names = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
            assigned = [node for node in tree.body if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign))]
            names |= {name.id for node in assigned for name in ast.walk(node) if isinstance(name, ast.Name)}
            found[imports.module_name(file)] = names
    return found


def names_from_elsewhere(tree: ast.AST) -> list[str]:
    """Returns names that are imported from a module that itself only imports them."""
    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module in defined_names()]
    return [f"{n.module}.{a.name}" for n in nodes for a in n.names if a.name not in defined_names()[n.module]]


def test_package_imports_names_from_the_modules_that_define_them():
    """A module that passes on the names of another is a shim: two homes for one thing."""
    assert not by_file(lambda file: names_from_elsewhere(TREES[file]))


def test_shim_check_finds_name_from_elsewhere():
    assert names_from_elsewhere(ast.parse("from keras_reg.tune.hyperparameter import Hyperparameter"))
    assert not names_from_elsewhere(ast.parse("from keras_reg.tune.hyperparameter import Float"))


def test_package_uses_only_public_names_of_others():
    found = {(file, name) for file, names in by_file(lambda file: private_names(TREES[file])).items() for name in names}
    assert found == set(PRIVATE_USES)


def test_package_replaces_only_listed_parts_of_other_objects():
    found = {
        (file, name) for file, names in by_file(lambda file: replaced_names(TREES[file])).items() for name in names
    }
    assert found == set(REPLACED)


PAGE = (ROOT.parent / "docs" / "architecture.md").read_text()


def test_picture_of_rooms_is_current():
    assert architecture.draw() == architecture.PICTURE.read_text(), "run python -m tests.support.architecture"


def test_circle_of_rooms_has_no_picture():
    with pytest.raises(RecursionError):
        architecture.floors({"a": {"b"}, "b": {"a"}})


def test_architecture_page_names_every_room_and_canary():
    named = set(re.findall(r"`(\w+)`", PAGE))
    assert set(BELOW) <= named
    folder = pathlib.Path(__file__).parent
    text = (folder / "_keras" / "test_keras_faults.py").read_text() + (
        folder / "distribute" / "test_multi_worker.py"
    ).read_text()
    canaries = set(re.findall(r"def (test_keras_fault_\w+)\(", text))
    assert {name for name in named if name.startswith("test_")} <= canaries
    assert canaries - named <= {"test_keras_fault_trainer_reduces_scalars_over_axis_0"}


@pytest.mark.parametrize(("function", "file"), re.findall(r"\[`([\w.]+)`\]\(\.\./keras_reg/([\w/.]+)\)", PAGE))
def test_architecture_page_links_functions_to_their_files(function, file):
    name = function.rpartition(".")[2]
    assert re.search(rf"^\s*(def|class) {name}\b", (ROOT / file).read_text(), re.MULTILINE)


@pytest.mark.parametrize("test", sorted({*PRIVATE_USES.values(), *REPLACED.values()}))
def test_listed_exceptions_have_tests(test):
    file, _, name = test.partition("::")
    assert f"def {name}(" in (pathlib.Path(__file__).parent / file).read_text()


@pytest.mark.parametrize(
    "source",
    [
        "from keras.src import backend",
        "import keras.src.trainers",
        "import tensorflow.python.eager",
        "model._tracker.unlock()",
        "layer._dtype_policy",
        "callback._terms",
        "getattr(model, '_compile_config', None)",
        "class A(keras.callbacks.Callback):\n    def f(self):\n        return self._model",
        "class A(keras.Layer):\n    def _f(self):\n        return super()._f()",
    ],
)
def test_private_name_check_finds_private_name(source):
    assert private_names(ast.parse(source))


def test_private_name_check_accepts_own_names():
    source = "class A:\n    def __init__(self, other):\n        self._x = other._x\n\n\ndef f(a):\n    return a._x"
    assert not private_names(ast.parse(source))


@pytest.mark.parametrize("source", ["vars(layer)['call'] = f", "layer.__class__ = Other", "self.model.fit = f"])
def test_replacement_check_finds_replacement(source):
    assert replaced_names(ast.parse(source))


def test_package_wraps_no_init():
    """Checks that no `__init__` is wrapped, because Keras inspects its signature."""

    def wrapped(file):
        return [f.lineno for f in functions(TREES[file]) if f.name == "__init__" and f.decorator_list] + [
            node.lineno
            for node in ast.walk(TREES[file])
            if isinstance(node, ast.Attribute) and node.attr == "__init__" and isinstance(node.ctx, ast.Store)
        ]

    assert not by_file(wrapped)
    for name, cls in public_classes().items():
        assert not hasattr(cls.__init__, "__wrapped__"), name


def test_package_files_and_functions_are_small():
    long_files = by_file(lambda file: len(file.read_text().splitlines()) > 250)
    assert set(long_files) == TOO_LONG

    def long(file):
        return [
            f"{f.name}: {lines_without_docstring(f)}" for f in functions(TREES[file]) if lines_without_docstring(f) > 50
        ]

    assert not by_file(long)


def test_package_raises_no_assertions_for_user_errors():
    assert not by_file(lambda file: [node.lineno for node in ast.walk(TREES[file]) if isinstance(node, ast.Assert)])


def unrepeatable(tree: ast.AST) -> list[str]:
    """Returns imports of clocks and unseeded generators, and calls of `default_rng` without a seed."""
    found = [name for name in imports.imported_names(tree) if name.split(".")[0] in UNREPEATABLE]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and not (node.args or node.keywords):
            name = ast.unparse(node.func)
            found += [name] * (name.split(".")[-1] == "default_rng")
    return found


def test_tests_read_no_clock_and_draw_no_unseeded_numbers():
    folder = pathlib.Path(__file__).parent
    found = {
        file.relative_to(folder).as_posix(): names
        for file in folder.rglob("*.py")
        if (names := unrepeatable(ast.parse(file.read_text())))
    }
    assert found.keys() == MAY_BE_UNREPEATABLE.keys(), found


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "def wait():\n    from time import monotonic",
        "import datetime as dt",
        "import secrets",
        "rng = np.random.default_rng()",
        "from numpy.random import default_rng; default_rng().normal()",
    ],
)
def test_repeatability_check_finds_clocks_and_unseeded_numbers(source):
    assert unrepeatable(ast.parse(source))


def test_repeatability_check_accepts_seeded_numbers():
    assert not unrepeatable(ast.parse("from keras_reg import random; np.random.default_rng(0).normal(); timeout = 3"))


def public_members() -> dict[str, object]:
    """Returns the public functions and classes by their public path."""
    found = {}

    def walk(module):
        for name in module.__all__:
            member = getattr(module, name)
            if inspect.ismodule(member):
                walk(member)
            elif inspect.isfunction(member) or inspect.isclass(member):
                found[f"{module.__name__}.{name}"] = member

    walk(keras_reg)
    return found


@pytest.mark.parametrize("name", sorted(public_members()))
def test_public_names_are_documented(name, request):
    if name in UNDOCUMENTED:
        request.applymarker(pytest.mark.xfail(reason=UNDOCUMENTED[name], strict=True))
    member = public_members()[name]
    documentation = inspect.getdoc(member)
    assert documentation, f"{name} has no docstring"
    if inspect.isclass(member) and issubclass(member, Warning):
        return
    parameters = [
        parameter.name
        for parameter in inspect.signature(member).parameters.values()
        if parameter.kind is not parameter.VAR_KEYWORD
    ]
    record = dataclasses.is_dataclass(member) and "Attributes:" in documentation
    if not parameters or record:
        return
    assert "Args:" in documentation, f"the docstring of {name} has no section of its arguments"
    missing = [p for p in parameters if not re.search(rf"^\s+(\w+, )*{p}(, \w+)*:", documentation, re.MULTILINE)]
    assert not missing, f"the docstring of {name} does not describe {missing}"


@pytest.mark.parametrize("method", keras_reg.list_methods(), ids=lambda method: method.name)
def test_listed_methods_document_example_and_source(method):
    documentation = inspect.getdoc(method.cls)
    assert "```python" in documentation
    if method.cls.__init__ is not object.__init__:
        assert "Raises:" in documentation
    if method.arxiv:
        assert method.arxiv in documentation
        assert str(method.year) in documentation


def test_submodule_imports_load_no_other_packages():
    """Checks that other backends and the packages of extras are loaded only when they are needed."""
    backends = {"tensorflow", "jax", "torch"} - {keras.backend.backend()}
    absent = ["sklearn", "matplotlib", "rich", "PIL", "pandas"]
    if keras.backend.backend() == "jax":  # With other backends, Keras itself imports more packages.
        absent += sorted(backends)
    program = (
        "import sys, keras; before = set(sys.modules); import keras_reg; new = set(sys.modules) - before; "
        f"print([name for name in {absent} if name in new])"
    )
    environment = {**os.environ, "KERAS_BACKEND": keras.backend.backend()}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
