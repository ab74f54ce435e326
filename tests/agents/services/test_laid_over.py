from mediaserver.agents.services.laid_over import laid_over


def test_changes_are_made_at_any_depth_and_leave_the_settings_as_they_were() -> None:
    settings = {"voice": {"name": "ann", "speed": 1}, "tools": [1]}
    changed = laid_over(settings, {"voice": {"speed": 2}, "tools": [], "seed": 3})
    assert changed == {"voice": {"name": "ann", "speed": 2}, "tools": [], "seed": 3}
    assert settings == {"voice": {"name": "ann", "speed": 1}, "tools": [1]}


def test_an_object_takes_the_place_of_a_plain_value() -> None:
    assert laid_over({"voice": "ann"}, {"voice": {"id": "x"}}) == {"voice": {"id": "x"}}
