"""FLAME's files: read in every published form, put together, refused where they are bad, and never run."""

import dataclasses
import os
import pickle
import pickletools
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from flame_layout import F, V, deca, embedding, model, texture, write_embeddings, write_old_pickle
from typer.testing import CliRunner

from fgcli import artifacts, assets, config
from fgcli.cli.assets import app
from fgcli.errors import FgError, UsageError
from fgcli.foreign import flame_files, head_parts, mesh_files, pickles
from fgcli.foreign.flame_files import flame_head, import_file
from fgcli.heads import HEADS


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty assets folder."""
    monkeypatch.setenv("FG_ASSETS", str(tmp_path / "assets"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def raw():
    return model()


def write_pickle(name, content, protocol=4):
    path = Path(name)
    path.write_bytes(pickle.dumps(content, protocol))
    return path


def write_npz(name, **arrays):
    np.savez(name, **arrays)
    return Path(name)


def write_template(path, uv, uv_faces):
    lines = [f"v {x} 0 0" for x in range(V)] + [f"vt {u:.9g} {v:.9g}" for u, v in uv]
    lines += ["f " + " ".join(f"{i % V + 1}/{i + 1}/1" for i in face) for face in uv_faces]
    path.write_text("# head\n" + "\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("form", ["old", "pickle", "npz", "aliases"])
def test_every_edition_of_the_model_gives_the_same_head(raw, form):
    if form == "old":
        path = Path("generic_model.pkl")
        write_old_pickle(path, raw)
        named = {arg for op, arg, _ in pickletools.genops(path.read_bytes()) if op.name == "GLOBAL"}
        assert {"chumpy.ch Ch", "scipy.sparse.csc csc_matrix", "numpy.core.multiarray _reconstruct"} <= named
    elif form == "pickle":
        path = write_pickle("flame2023_Open.pkl", raw, 5)
    elif form == "npz":
        path = write_npz("FLAME_NEUTRAL.npz", **raw)
    else:
        old = {"v_template": "template_v", "J_regressor": "joint_regressor", "shapedirs": "blendshapes", "J": "joints"}
        path = write_pickle("model.pkl", {old.get(key, key): value for key, value in raw.items()}, 2)
    asset, stored = import_file(path)
    assert (asset.name, stored) == ("flame_model", assets.find("flame_model"))
    head = flame_head()
    assert head.name == "flame"
    assert head.source == artifacts.sha256(path)
    assert path.name in head.notice
    for key, value in {
        "template": raw["v_template"],
        "faces": raw["f"],
        "shape_basis": raw["shapedirs"][..., :300],
        "expression_basis": raw["shapedirs"][..., 300:],
        "pose_basis": raw["posedirs"],
        "joint_regressor": raw["J_regressor"].toarray(),
        "weights": raw["weights"],
    }.items():
        assert np.array_equal(getattr(head, key), value.astype(np.float32 if value.dtype.kind == "f" else np.int64)), (
            key
        )
    with pytest.raises(FgError, match="expected an embedding of 68 landmarks, found none"):
        head.landmark_head()


def test_landmarks_of_both_publishers_are_one(raw, folder):
    import_file(write_npz("FLAME_NEUTRAL.npz", **raw))
    given = embedding()
    given["full_lmk_faces_idx"][0] = np.r_[given["dynamic_lmk_faces_idx"][0], given["static_lmk_faces_idx"]]
    weights = given["dynamic_lmk_bary_coords"][0], given["static_lmk_bary_coords"]
    given["full_lmk_bary_coords"][0] = np.concatenate(weights)
    write_embeddings(folder, given)
    assert import_file(Path("flame_static_embedding.pkl"))[0].name == "flame_landmarks_static"
    with pytest.raises(FgError, match="expected an embedding of 68"):
        flame_head().landmark_head()
    assert import_file(Path("flame_dynamic_embedding.npy"))[0].name == "flame_landmarks_dynamic"
    one = flame_head()
    np.save("landmark_embedding.npy", given, allow_pickle=True)
    assert import_file(Path("landmark_embedding.npy"))[0].name == "flame_landmarks"
    two = flame_head()
    for key in ("landmark_faces", "landmark_weights", "contour_faces", "contour_weights"):
        assert torch.equal(getattr(one, key), getattr(two, key))
    assert torch.equal(two.contour_faces, given["dynamic_lmk_faces_idx"])
    other = flame_head(contour_sign="-")
    assert torch.equal(other.contour_faces[39], two.contour_faces[78])
    assert torch.equal(flame_head(contour_sign="+").contour_faces, two.contour_faces)
    with pytest.raises(UsageError, match=r"h.contour_sign: input should be 'auto', '\+' or '-', found 'deca'"):
        config.build(HEADS, {"name": "flame", "contour_sign": "deca"}, "h")


def outline_on_a_face():
    """A template that bulges forward at x = 0, and the outline's table that follows its silhouette."""
    columns = np.linspace(-np.pi, np.pi, 721)
    template = np.stack([0.07 * np.sin(columns), 0 * columns, 0.09 * np.cos(columns)], 1)
    yaw = np.deg2rad(np.r_[0:40, -1:-40:-1])
    side = np.linspace(-np.pi / 2, np.pi / 2, 17)  # image left to right
    normal = side - yaw[:, None]  # turned by the yaw, it points to the side: the silhouette at the outermost points
    angle = np.arctan2(0.07 * np.sin(normal), 0.09 * np.cos(normal))
    vertex = np.rint((angle + np.pi) / (2 * np.pi) * 720).astype(int).clip(0, 720)
    faces = np.stack([np.arange(721)] * 3, 1)
    return template, faces, {"contour_faces": vertex, "contour_weights": np.full((79, 17, 3), 1 / 3)}


def test_the_sign_of_the_outlines_yaw_is_seen_in_the_geometry():
    template, faces, contour = outline_on_a_face()
    assert flame_files.silhouette(template, faces, contour) > 0.9
    mirrored = {key: flame_files.mirrored_yaw(array) for key, array in contour.items()}
    assert flame_files.silhouette(template, faces, mirrored) < -0.9


@pytest.mark.parametrize("right", [True, False])
def test_an_outline_with_the_wrong_sign_is_put_right(raw, folder, right):
    template, faces, contour = outline_on_a_face()
    raw = raw | {"v_template": raw["v_template"].copy(), "f": raw["f"].copy()}
    raw["v_template"][: len(template)], raw["f"][: len(faces)] = template, faces
    import_file(write_npz("FLAME_NEUTRAL.npz", **raw))
    given = embedding()
    given["dynamic_lmk_faces_idx"] = contour["contour_faces"]
    given["dynamic_lmk_bary_coords"] = contour["contour_weights"]
    if not right:
        for key in ("dynamic_lmk_faces_idx", "dynamic_lmk_bary_coords"):
            given[key] = flame_files.mirrored_yaw(given[key])
    np.save("landmark_embedding.npy", given, allow_pickle=True)
    import_file(Path("landmark_embedding.npy"))
    head = flame_head()
    assert np.array_equal(head.contour_faces, contour["contour_faces"])
    pose = torch.tensor([[0, np.deg2rad(30), 0, 0, 0, 0]], dtype=torch.float32)  # towards image right
    points = head.landmarks(head.template[None], pose)[0]
    assert points[12, 2] > points[4, 2]  # there the outline lies on the cheek
    wrong = flame_head(contour_sign="-" if right else "+").landmarks(head.template[None], pose)[0]
    assert wrong[12, 2] < wrong[4, 2]


def test_textures(raw, folder):
    import_file(write_npz("FLAME_NEUTRAL.npz", **raw))
    given = texture()
    import_file(write_npz("FLAME_texture.npz", **given))
    head = flame_head()
    code = torch.tensor([[0.5, -1, 2]])
    wanted = (given["mean"] + given["tex_dir"] @ code[0].numpy())[::2, ::2, ::-1] / 255
    got = head.albedo(code)[0]
    assert got.shape == (3, 256, 256)
    assert np.allclose(got, wanted.transpose(2, 0, 1).clip(0, 1), atol=1e-5)
    assert np.array_equal(head.uv_faces, given["ft"])
    assert np.allclose(head.uv, given["vt"])

    bfm = {"MU": given["mean"].reshape(-1) / 255, "PC": given["tex_dir"].reshape(-1, 3) / 255}
    Path(folder / "assets/flame_texture.h5").unlink()
    assert import_file(write_npz("FLAME_albedo_from_BFM.npz", **bfm))[0].name == "flame_texture_bfm"
    with pytest.raises(FgError, match="expected texture coordinates beside it, found none; .* head_template.obj"):
        flame_head()
    assert not flame_head(texture="none").uv.numel()
    path = write_template(folder / "head_template.obj", given["vt"], given["ft"])
    assert import_file(path)[0].name == "flame_template"
    again = flame_head(texture="bfm")
    assert torch.allclose(again.albedo(code)[0], got, atol=1e-5)
    assert torch.equal(again.uv_faces, head.uv_faces)
    assert torch.allclose(again.uv, head.uv)
    with pytest.raises(FgError, match="texture=flame: expected the asset flame_texture, found none; get FLAME_texture"):
        flame_head(texture="flame")
    with pytest.raises(FgError, match="found AlbedoMM, whose colours are linear light"):
        import_file(write_npz("albedoModel2020.npz", specMU=bfm["MU"], **bfm))


def test_masks(raw):
    import_file(write_npz("FLAME_NEUTRAL.npz", **raw))
    masks = {"face": np.arange(9), "neck": np.arange(3, 7), "scalp": np.array([V - 1]), "left_ear": np.zeros(0, int)}
    assert import_file(write_pickle("FLAME_masks.pkl", masks, 2))[0].name == "flame_masks"
    assert {k: v.tolist() for k, v in flame_head().regions.items()} == {k: v.tolist() for k, v in masks.items()}
    import_file(write_pickle("FLAME_masks.pkl", masks | {"scalp": np.array([V])}))
    with pytest.raises(FgError, match=rf"expected vertex ids of scalp below {V}, found {V}; import files of one FLAME"):
        flame_head()


def test_no_model_says_where_to_get_one_and_what_works_without():
    with pytest.raises(FgError) as caught:
        flame_head()
    text = str(caught.value)
    assert "flame.head.name=flame: expected the asset flame_model, found none; get flame2023_Open.pkl or" in text
    assert "from https://flame.is.tue.mpg.de and run fg assets import FILE" in text
    assert "CC-BY-4.0" in text
    assert text.endswith("the procedural head works without it")


class Payload:
    def __init__(self, call, *given):
        self.call, self.given = call, given

    def __reduce__(self):
        return self.call, self.given


@pytest.mark.parametrize("form", ["pickle", "npy", "npz", "nested", "torch"])
def test_a_file_that_tries_to_run_code_is_refused_by_name(raw, form):
    attack = Payload(os.mkdir, "owned")
    if form == "pickle":
        path = write_pickle("model.pkl", {**raw, "J": attack}, 2)
    elif form == "npy":
        path = Path("landmark_embedding.npy")
        np.save(path, {**embedding(), "x": attack}, allow_pickle=True)
    elif form == "npz":
        path = write_npz("FLAME_NEUTRAL.npz", **raw | {"weights": np.array(attack, object)})
    elif form == "nested":
        array = np.empty(1, object)
        array[0] = attack
        path = write_pickle("model.pkl", {**raw, "J": array})
    else:
        path = Path("deca_model.tar")
        torch.save({"E_flame": attack}, path)
    with pytest.raises(FgError) as caught:
        import_file(path)
    wanted = "torch cannot read safely" if form == "torch" else "calls posix.mkdir; it was not run"
    assert wanted in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert not Path("owned").exists()
    assert not assets.folder().exists()


@pytest.mark.parametrize(
    "attack",
    [
        b"cos\nsystem\n(S'mkdir owned'\ntR.",
        b"c__builtin__\neval\n(S'1'\ntR.",
        b"cbuiltins\ngetattr\n(c__builtin__\nobject\nS'__subclasses__'\ntR.",
        b"\x80\x04\x8c\x05numpy\x8c\x0fndarray.tofile\x93.",
        b"cnumpy.core.multiarray\n_reconstruct\n(c__builtin__\nobject\n(I0\ntS'b'\ntR.",
        b"ctorch.storage\n_load_from_bytes\n(S'cos\\nsystem\\n(S\"mkdir owned\"\\ntR.'\ntR.",
        b"ccopy_reg\n_reconstructor\n(c__builtin__\nset\nc__builtin__\nobject\nNtR.",
        b"\x80\x02cnumpy\ndtype\n(S'V8'\nI0\nI1\ntR(I3\nS'|'\nNNNI8\nI1\nI0\ntb.",
    ],
)
def test_handmade_pickles(attack):
    Path("x.pkl").write_bytes(attack)
    with pytest.raises(FgError, match=r"^x.pkl: expected .*, found .*"):
        import_file(Path("x.pkl"))
    assert not Path("owned").exists()


def test_arrays_of_types_that_could_point_into_memory_are_refused():
    odd = np.zeros(2, [("a", "O"), ("b", "i8")])
    path = write_pickle("x.pkl", {"v_template": odd})
    with pytest.raises(FgError, match="found damage"):
        head_parts.Reader(path, pickles.load(path), ()).floats("v_template", "v 3")
    regressor = model()["J_regressor"]
    regressor.indices = regressor.indices + 10**6
    path = write_pickle("y.pkl", {"J_regressor": regressor})
    with pytest.raises(FgError, match="expected an array J_regressor, found damage"):
        head_parts.Reader(path, pickles.load(path), ()).floats("J_regressor", "5 v")


def change(raw, **arrays):
    return {key: value for key, value in (raw | arrays).items() if value is not None}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"posedirs": None, "f": None}, r"expected the keys f, posedirs too, found only v_template"),
        (
            {"shapedirs": np.zeros((V, 3, 20))},
            r"expected numbers \(5023, 3, 400\) in shapedirs, found .*\(5023, 3, 20\)",
        ),
        ({"posedirs": np.zeros((V, 3, 207))}, r"expected numbers \(5023, 3, 36\) in posedirs"),
        ({"weights": np.zeros((V, 5))}, "expected skinning weights that sum to 1, found others"),
        ({"weights": np.full((V, 5), np.nan)}, "expected finite numbers in weights, found others"),
        ({"v_template": np.full((V, 3), "x")}, r"expected numbers \(v, 3\) in v_template, found <U1"),
        ({"f": np.full((F, 3), V)}, f"expected ids below {V} in f, found {V}"),
        ({"f": np.full((F, 3), -1)}, "expected ids in f, found negative or broken"),
        ({"kintree_table": np.zeros((2, 24), int)}, r"expected numbers \(2, 5\) in kintree_table"),
        ({"kintree_table": np.zeros((2, 5), int)}, r"expected joints with the parents \[-1, 0, 1, 1, 1\]"),
    ],
)
def test_bad_models(raw, arrays, message):
    with pytest.raises(FgError, match=rf"^model.pkl: {message}.*; give the file as it was published$"):
        import_file(write_pickle("model.pkl", change(raw, **arrays)))
    assert not assets.folder().exists()


def test_bad_files(raw, folder):
    def refuse(path, message):
        with pytest.raises(FgError, match=message) as caught:
            import_file(Path(path))
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)

    refuse("none.pkl", "found no such file")
    Path("a.pkl").write_bytes(b"")
    refuse("a.pkl", "found an empty file")
    Path("a.pkl").write_bytes(b"<!DOCTYPE html><html>Log in</html>")
    refuse("a.pkl", "found an HTML page")
    whole = write_pickle("a.pkl", raw).read_bytes()
    Path("a.pkl").write_bytes(whole[: len(whole) // 2])
    refuse("a.pkl", "expected a pickle of arrays, found damage")
    Path("a.pkl").write_bytes(bytes(range(256)) * 8)
    refuse("a.pkl", "found damage")
    refuse(write_pickle("a.pkl", [1, 2]), "expected named arrays, found a list")
    refuse(
        write_pickle("a.pkl", {"x": 1}), "expected one of flame2023_Open.pkl, landmark_emb.*found a file that holds x"
    )
    np.save("a.npy", np.zeros(3))
    refuse("a.npy", "expected named arrays, found a ndarray")
    content = write_npz("a.npz", **raw).read_bytes()
    Path("a.npz").write_bytes(content[: len(content) // 2])
    refuse("a.npz", "expected a whole zip, found damage")
    middle = content.index(b"weights.npy") + 2000
    Path("a.npz").write_bytes(content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :])
    refuse("a.npz", "expected a whole array weights, found damage")
    with zipfile.ZipFile("FLAME2023.zip", "w") as archive:
        archive.write("a.pkl")
    refuse("FLAME2023.zip", "found a zip of other files; unpack it first")
    lmk = embedding()
    for key, value, message in (
        ("full_lmk_faces_idx", np.zeros((1, 51), int), r"expected numbers \(68\) in full_lmk_faces_idx"),
        ("full_lmk_bary_coords", np.ones((1, 68, 3)), "expected barycentric weights that sum to 1"),
        ("dynamic_lmk_faces_idx", torch.zeros(78, 17), r"expected numbers \(79, 17\)"),
    ):
        np.save("a.npy", lmk | {key: value}, allow_pickle=True)
        refuse("a.npy", message)
    Path("a.obj").write_text("v 0 0 0\nv 1 0 0\nf 1 2\n")
    refuse("a.obj", "expected an OBJ of triangles")
    refuse(write_npz("a.npz", **texture() | {"mean": np.zeros((512, 512, 4))}), r"expected mean \(h, h, 3\)")
    assert not assets.folder().exists()


def test_parts_that_do_not_fit_each_other(raw, folder):
    import_file(write_npz("FLAME_NEUTRAL.npz", **raw))
    lmk = embedding()
    lmk["full_lmk_faces_idx"][0, 3] = F
    np.save("landmark_embedding.npy", lmk, allow_pickle=True)
    import_file(Path("landmark_embedding.npy"))
    with pytest.raises(
        FgError, match=f"expected triangles of the model below {F}, found {F}; import files of one FLAME"
    ):
        flame_head()
    np.save("landmark_embedding.npy", embedding(), allow_pickle=True)
    import_file(Path("landmark_embedding.npy"))
    import_file(write_template(folder / "head_template.obj", np.zeros((3, 2)), np.zeros((F - 1, 3), int)))
    with pytest.raises(FgError, match=f"expected {F} triangles as in flame_model, found {F - 1}"):
        flame_head()


def test_the_commands(raw, folder):
    call = CliRunner().invoke
    np.save("landmarks(1).npy", embedding(), allow_pickle=True)
    write_npz("model.npz", **raw)
    done = call(app, ["import", "landmarks(1).npy", "model.npz"])
    names = ("flame_landmarks", "flame_model")
    assert done.stdout.splitlines() == [f"{name}: {assets.find(name)}" for name in names]
    assert "found    flame_model" in call(app, ["list"]).stdout
    assert "missing  flame_masks" in call(app, ["list"]).stdout
    assert "get FLAME_masks.pkl from https://flame.is.tue.mpg.de" in call(app, ["list"]).stdout
    assert call(app, ["check"]).exit_code == 0
    wrong = call(app, ["import", "--name", "flame_masks", "model.npz"])
    assert wrong.exit_code == 1
    assert "expected the keys face, neck, scalp too" in wrong.stderr
    assert call(app, ["import", "--name", "flame", "model.npz"]).exit_code == 2
    path = assets.find("flame_model")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "damaged  flame_model" in call(app, ["check"]).stdout
    path.write_bytes(content[:5000])
    assert "damaged  flame_model" in call(app, ["check"]).stdout
    path.write_bytes(b"x")
    assert call(app, ["check"]).exit_code == 1
    assets.find("flame_landmarks").rename(path)
    assert "the part flame_landmarks" in call(app, ["check"]).stdout


def test_importing_twice_gives_equal_bytes(raw):
    path = write_npz("FLAME_NEUTRAL.npz", **raw)
    first = import_file(path)[1].read_bytes()
    assert import_file(path)[1].read_bytes() == first
    assert sorted(p.name for p in assets.folder().iterdir()) == ["flame_model.h5"]


def test_meshes_as_files(folder):
    rng = np.random.default_rng(0)
    mesh = mesh_files.Mesh(
        rng.normal(size=(5, 3)).astype(np.float32),
        np.array([[0, 1, 2], [2, 3, 4]]),
        rng.uniform(size=(6, 2)).astype(np.float32),
        np.array([[0, 1, 2], [3, 4, 5]]),
        rng.uniform(size=(3, 8, 8)).astype(np.float32),
    )
    written = mesh_files.write_obj(folder / "a.obj", mesh)
    assert [p.name for p in written] == ["a.obj", "a.mtl", "a.png"]
    again = mesh_files.read_obj(folder / "a.obj")
    assert np.allclose(again.vertices, mesh.vertices, atol=1e-6)
    assert np.allclose(again.uv, mesh.uv, atol=1e-6)
    assert np.array_equal(again.faces, mesh.faces)
    assert np.array_equal(again.uv_faces, mesh.uv_faces)
    bare = mesh_files.Mesh(mesh.vertices, mesh.faces)
    assert mesh_files.write_obj(folder / "b.obj", bare) == [folder / "b.obj"]
    assert not len(mesh_files.read_obj(folder / "b.obj").uv_faces)
    painted = mesh_files.coloured(mesh)
    column, row = int(mesh.uv[4, 0] * 8), int((1 - mesh.uv[4, 1]) * 8)
    assert np.allclose(painted.colours[3], mesh.texture[:, row, column])
    mesh_files.write_ply(folder / "a.ply", painted)
    assert (folder / "a.ply").read_bytes().startswith(b"ply\nformat binary_little_endian 1.0\n")
    trimesh = pytest.importorskip("trimesh")
    for name in ("a.obj", "a.ply", "b.obj"):
        loaded = trimesh.load(folder / name, process=False, maintain_order=True)
        assert np.allclose(loaded.triangles, mesh.vertices[mesh.faces], atol=1e-6)
    split = trimesh.load(folder / "a.ply", process=False).visual.uv
    assert np.allclose(np.sort(split, 0), np.sort(mesh.uv, 0), atol=1e-6)
    mesh_files.write_ply(folder / "c.ply", dataclasses.replace(bare, colours=painted.colours))
    colours = trimesh.load(folder / "c.ply", process=False).visual.vertex_colors[:, :3]
    assert np.allclose(colours / 255, painted.colours, atol=0.5 / 255)


def test_torch_files_of_both_forms_are_told_from_npz(folder):
    for new in (True, False):
        torch.save({"x": torch.zeros(1)}, "a.tar", _use_new_zipfile_serialization=new)
        assert pickles.is_torch_file(Path("a.tar"))
    assert not pickles.is_torch_file(write_npz("a.npz", x=np.zeros(1)))
    assert set(deca()) >= {"E_flame"}
