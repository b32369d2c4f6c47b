"""Networks as somebody wrote them, and what is said of mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator import Network, networks

TORUS = """
shape = "torus"
dims = [4, 2]
latency = "1us"
bandwidth = "10Gbit/s"
"""

DUMBBELL = """
name: dumbbell
hosts: {a: one, b: one, c: two}
switches: [left, right]
latency: 2us
bandwidth: 1e9
links:
  - [a, left]
  - [b, left]
  - {between: [c, right], bandwidth: 4Gbit/s}
  - {between: [left, right], latency: 1.0e-5}
reduction: 0.5ns
"""


def load(tmp_path: Path, text: str, name: str = "network.toml") -> Network:
    file = tmp_path / name
    file.write_text(text)
    return networks.load(file)


def same(one: Network, other: Network) -> bool:
    first, second = one.topology, other.topology
    return (
        (first.ends == second.ends).all()
        and (first.latency == second.latency).all()
        and (first.bandwidth == second.bandwidth).all()
        and one.place.tolist() == other.place.tolist()
    )


def test_a_shape_from_toml_is_the_shape(tmp_path: Path) -> None:
    assert same(load(tmp_path, TORUS), networks.torus((4, 2), 1e-6, 1.25e9))


def test_yaml_says_the_same(tmp_path: Path) -> None:
    text = "shape: torus\ndims: [4, 2]\nlatency: 1us\nbandwidth: 10Gbit/s\n"
    assert same(load(tmp_path, text, "network.yaml"), load(tmp_path, TORUS))


def test_ranks_and_placement_from_a_file(tmp_path: Path) -> None:
    placed = load(tmp_path, TORUS + 'ranks = 3\nplacement = "random"\nseed = 5\nreduction = "0.5ns"\n')
    assert placed.place.tolist() == networks.place(networks.torus((4, 2), 0, 1), "random", 3, 5).place.tolist()
    assert placed.gamma == 0.5e-9
    assert load(tmp_path, TORUS + "placement = [7, 0]\n").place.tolist() == [7, 0]
    assert load(tmp_path, TORUS + "ranks = 2\n").place.tolist() == [0, 1]


def test_a_drawing_by_hand(tmp_path: Path) -> None:
    network = load(tmp_path, DUMBBELL, "network.yml")
    assert (network.name, network.size, network.gamma) == ("dumbbell", 3, 0.5e-9)
    assert [hop.name for hop in network.route(0, 2)] == ["a → left", "left → right", "right → c"]
    assert [hop.latency for hop in network.route(0, 2)] == [2e-6, 1e-5, 2e-6]
    assert [hop.bandwidth for hop in network.route(2, 0)] == [5e8, 1e9, 1e9]
    assert network.topology.machine.tolist() == [0, 0, 1]


def test_a_drawing_in_toml_with_a_link_of_two_speeds(tmp_path: Path) -> None:
    text = """
    hosts = ["home", "world"]
    latency = "10ms"
    [[links]]
    between = ["home", "world"]
    bandwidth = "40Mbit/s"
    directed = true
    [[links]]
    between = ["world", "home"]
    bandwidth = "200Mbit/s"
    directed = true
    """
    network = load(tmp_path, text)
    assert (network.route(0, 1)[0].bandwidth, network.route(1, 0)[0].bandwidth) == (5e6, 25e6)


def test_the_file_that_the_page_shows(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "simulator.md").read_text("utf-8")
    network = load(tmp_path, page.partition("```toml\n")[2].partition("```")[0])
    assert network.size == 3
    assert [hop.bandwidth for hop in network.route(0, 2)] == [1.25e9, 5e9, 1.25e9]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("shape = torus\n", r"network.toml: .*line 1"),
        ("a: b\n- c\n", r"network.yaml: line 2: "),
        ("- 1\n- 2\n", "network.yaml: a network is a table of keys and values"),
        ("size = 4", "either shape .* or hosts and links must be given"),
        ('shape = "tours"', "no shape is called 'tours'; known: torus, "),
        ('shape = "torus"\ndims = [2]\nlatency = 0', "torus needs bandwidth; it takes dims, latency, bandwidth"),
        (TORUS + "colour = 3", "torus has no parameter 'colour'; it takes dims, latency, bandwidth"),
        (TORUS.replace("1us", "1uz"), "network.toml: latency: time '1uz': unknown unit 'uz'"),
        (TORUS.replace('"1us"', "true"), "latency must be a number, or a string with a unit, got True"),
        (TORUS.replace("[4, 2]", "[4, 2.5]"), "dims must be a whole number, got 2.5"),
        (TORUS.replace("[4, 2]", "4"), "dims must be a list, got 4"),
        (TORUS.replace("[4, 2]", "[4, 0]"), "each of dims must be at least 1, got 0"),
        (TORUS.replace("10Gbit/s", "0"), "bandwidth must be above 0 bytes/s, got 0.0"),
        (TORUS + "ranks = 9", "torus has 8 hosts, too few for 9 ranks"),
        (TORUS + 'ranks = "many"', "ranks must be a whole number, got 'many'"),
        (TORUS + "placement = 3", "placement must be a name or a list of host numbers, got 3"),
        (TORUS + 'placement = "blok"', "no placement is called 'blok'"),
        (TORUS + 'reduction = "-1ns"', "reduction: time '-1ns' is no number with a unit"),
        (DUMBBELL + "colour: 3", "a network of hosts and links has no 'colour'"),
        (DUMBBELL.replace("[a, left]", "[a, lift]"), "link 1: no host or switch is called 'lift'"),
        (DUMBBELL.replace("[a, left]", "[a]"), "link 1: between must be two names"),
        (DUMBBELL.replace("[a, left]", "7"), "link 1: a link is two names or a table .* got 7"),
        (DUMBBELL.replace("[a, left]", "[b, left]"), "link 2: there is one from b to left already"),
        (DUMBBELL.replace("- [a, left]", "- {between: [a, left], speed: 3}"), "link 1: there is no 'speed'"),
        (DUMBBELL.replace("latency: 2us", "latency: []"), "link 1: latency must be a number, or a string"),
        (DUMBBELL.replace("bandwidth: 1e9\n", ""), "link 1: bandwidth must be a number, .* got None"),
        (DUMBBELL.replace("  - [b, left]\n", ""), "dumbbell is not connected: there is no route from a to b"),
        (DUMBBELL.replace("[left, right]\nl", "[left, a]\nl"), "'a' is both a host and a switch"),
        (DUMBBELL.replace("[left, right]\nl", "[left, left]\nl"), "switches: 'left' is there twice"),
        (DUMBBELL.replace("{a: one, b: one, c: two}", "all"), "hosts must be a list, got 'all'"),
        ("hosts: []\nlinks: []\n", "custom has no hosts"),
    ],
)
def test_mistakes_are_named_with_their_file(tmp_path: Path, text: str, complaint: str) -> None:
    name = "network.toml" if "=" in text else "network.yaml"
    with pytest.raises(ValueError, match=complaint) as problem:
        load(tmp_path, text, name)
    assert str(problem.value).startswith(str(tmp_path / name))


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read: No such file or directory"):
        networks.load(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="cannot be read: it is no text"):
        networks.load(tmp_path / "binary.toml")
    with pytest.raises(ValueError, match=r"a file that ends in .toml, .yaml, .yml"):
        load(tmp_path, TORUS, "network.json")


def test_nothing_is_executed_by_loading_yaml(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="could not determine a constructor"):
        load(tmp_path, f"shape: !!python/object/apply:os.mkdir ['{tmp_path / 'made'}']\n", "network.yaml")
    assert not (tmp_path / "made").exists()


# --- by a word --------------------------------------------------------------------------------------------------------


def test_networks_by_a_word(tmp_path: Path) -> None:
    link = "latency=1us,bandwidth=1GB/s"
    assert same(networks.find(f"torus:dims=4x2,{link}"), networks.torus((4, 2), 1e-6, 1e9))
    assert same(networks.find(f"ring:{link}", 5), networks.ring(5, 1e-6, 1e9))
    assert same(
        networks.find("hierarchical:counts=2x3,latency=1us+5us,bandwidth=1e+9+10Gbit/s"),
        networks.hierarchical((2, 3), (1e-6, 5e-6), (1e9, 1.25e9)),
    )
    tree = networks.find(f"fat_tree:k=4,oversubscription=2,{link}", 5)
    assert (tree.size, tree.topology.hosts) == (5, 16)
    assert networks.find("dgx-h100", 12).name == "dgx-h100"
    (tmp_path / "mine.toml").write_text(TORUS + "placement = [7, 6, 5]")
    assert networks.find(str(tmp_path / "mine.toml")).place.tolist() == [7, 6, 5]
    assert networks.find(str(tmp_path / "mine.toml"), 2).place.tolist() == [7, 6]
    with pytest.raises(ValueError, match="rank 3 has no place: torus places 3 ranks, not 4"):
        networks.find(str(tmp_path / "mine.toml"), 4)


@pytest.mark.parametrize(
    ("text", "ranks", "complaint"),
    [
        ("nowhere", 4, "no network is called 'nowhere': give a preset .*, a shape .*, or a .toml or .yaml file"),
        ("dgx-h100", None, "preset dgx-h100 needs the number of ranks"),
        ("torus", 4, "torus needs dims; it takes"),
        ("torus:dims", 4, "'torus:dims': 'dims' should read parameter=value"),
        ("torus:dims=4xx4,latency=0,bandwidth=1", 4, "dims must be a whole number, got ''"),
        ("fat_tree:k=4,latency=0,bandwidth=1", 17, "fat tree has 16 hosts, too few for 17 ranks"),
        ("fat_tree:k=4,latency=0,bandwidth=1", 0, "ranks must be at least 1, got 0"),
        ("none.toml", 4, "none.toml: cannot be read"),
        ("fat_tree:k=4,latency=0,bandwidth=1,oversubscription=two", 4, "oversubscription: "),
    ],
)
def test_words_that_say_nothing_are_refused(text: str, ranks: int | None, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        networks.find(text, ranks)


@pytest.mark.parametrize("name", networks.shapes())
def test_every_shape_takes_the_parameters_of_its_function(name: str) -> None:
    from inspect import signature

    with pytest.raises(ValueError, match="it takes") as problem:
        networks.shape(name, {"nothing": 1})
    told = str(problem.value).partition("it takes ")[2].split(", ")
    known = list(signature(getattr(networks, name)).parameters)
    assert [key for key in told if key != "reduction"] == [
        key for key in known if key not in ("reduction", "one_machine")
    ]
