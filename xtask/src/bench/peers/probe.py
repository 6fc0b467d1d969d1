"""Runs a peer's script to its end, then says what it has computed: the numbers its optimisers train, and the operations of the
matrix products of one unit of work, both taken from the objects and graphs that were timed. Written by `cargo xtask bench peers`.

usage: probe.py SCRIPT ARGUMENTS...; the last line printed is PROBE and a JSON object."""
import gc, json, os, runpy, sys, warnings
from importlib import metadata

script = os.path.abspath(sys.argv[1])
sys.path.insert(0, os.path.dirname(script))
sys.argv = [script, *sys.argv[2:]]
names = runpy.run_path(script, run_name="__main__")
found = {}
warnings.simplefilter("ignore")  # looking at every object touches deprecated ones


def torch_parameters(torch):
    trained = {}
    for thing in gc.get_objects():
        try:
            if isinstance(thing, torch.optim.Optimizer):
                trained.update({id(p): p.numel() for group in thing.param_groups for p in group["params"]})
        except ReferenceError:
            pass
    return sum(trained.values())


def torch_flops(names):
    from torch.utils.flop_counter import FlopCounterMode
    calls = 4  # TD3+BC moves its actor every other time
    with FlopCounterMode(display=False) as counter:
        for _ in range(calls):
            names["step"]()
    return counter.get_total_flops() / calls / names.get("per", 1)


def products(jaxpr):
    """operations of the matrix products of a JAX graph; of two branches, the mean"""
    total = 0
    for equation in jaxpr.eqns:
        inner = [getattr(x, "jaxpr", x) for value in equation.params.values()
                 for x in (value if isinstance(value, (list, tuple)) else [value]) if hasattr(getattr(x, "jaxpr", x), "eqns")]
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape, size = equation.invars[0].aval.shape, 2
            for axis in contracted:
                size *= shape[axis]
            for length in equation.outvars[0].aval.shape:
                size *= length
            total += size
        elif equation.primitive.name == "cond":
            total += sum(map(products, inner)) / len(inner)
        else:
            total += equation.params.get("length", 1) * sum(map(products, inner))
    return total


def jax_facts(names):
    import jax
    leaves = lambda *trees: sum(x.size for tree in trees for x in jax.tree_util.tree_leaves(tree))
    if "upd" in names:
        trained = [names[k] for k in ("P0",) if k in names] or [names[k] for k in ("pi", "q", "v", "la") if k in names]
        found["parameters"] = leaves(*trained)
        graph = jax.make_jaxpr(names["upd"])(names["st"], names["flat"], names["key"])
        found["flops"] = products(graph.jaxpr)
    elif "roll" in names:
        found["parameters"] = leaves(names["P0"], names["pi"])
        graph = jax.make_jaxpr(names["roll"])(names["flat"], names["P0"], names["pi"], names["key"])
        found["flops"] = products(graph.jaxpr) / names["per"]


def attempt(what, f):
    try:
        return f()
    except Exception as error:  # a fact less is no reason to lose the measurement
        found.setdefault("missing", {})[what] = repr(error)[:200]


torch = sys.modules.get("torch")
if torch is not None:
    found["parameters"] = attempt("parameters", lambda: torch_parameters(torch))
    if "compile" not in names.get("MODE", ""):
        found["flops"] = attempt("flops", lambda: torch_flops(names))
elif "jax" in sys.modules:
    attempt("facts", lambda: jax_facts(names))
versions = {}
for package in ("torch", "numpy", "jax", "jaxlib", "optax", "d3rlpy"):
    try:
        versions[package] = metadata.version(package)
    except metadata.PackageNotFoundError:
        pass
found["versions"] = {"python": sys.version.split()[0], **versions}
print("PROBE " + json.dumps(found), flush=True)
