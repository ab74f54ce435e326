import pytest

from mediaserver.agents.conversing.configured import Configured


class Door(Configured):
    colour: str = "red"
    locked = False
    _hinges: int = 2


class GlassDoor(Door):
    thickness: float = 0.01


def test_what_a_class_and_its_bases_declare_can_be_set() -> None:
    assert GlassDoor.setting_names() == ["colour", "thickness"]
    door = GlassDoor(colour="blue", thickness=0.02)
    assert (door.colour, door.thickness, Door.colour) == ("blue", 0.02, "red")


@pytest.mark.parametrize("name", ["locked", "_hinges", "nothing"])
def test_nothing_else_can(name: str) -> None:
    with pytest.raises(TypeError, match=f"Door has no setting '{name}': it has colour"):
        Door(**{name: 1})


def test_the_nearest_is_suggested() -> None:
    with pytest.raises(TypeError, match="did you mean 'colour'"):
        Door(color="blue")
