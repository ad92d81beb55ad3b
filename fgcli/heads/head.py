"""The head: a mesh in FLAME's layout (Li et al. 2017, section 3) that shape, expression and pose deform.

Shapes: n batch, v vertices, f triangles, s and e shape and expression modes, k texture modes. Metres and radians; x to
the subject's left, y up, z out of the face. Every function of coefficients is differentiable and free of branches on
their values, so that it works under `vmap` and `jacfwd`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from fgcli.errors import FgError

JOINTS = ("root", "neck", "jaw", "left eye", "right eye")
PARENTS = (-1, 0, 1, 1, 1)
LANDMARKS = 68
JAW_POINTS = 17
"""The first landmarks of the 68 lie on the outline of the jaw, which moves over the skin as the head turns."""
MAX_YAW_DEG = 39
REGIONS = (
    *("face", "forehead", "nose", "lips", "eye_region", "left_eyeball", "right_eyeball"),
    *("scalp", "neck", "left_ear", "right_ear", "boundary"),
)
EMPTY: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
    "landmark_faces": ((0,), torch.int64),
    "landmark_weights": ((0, 3), torch.float32),
    "contour_faces": ((0, JAW_POINTS), torch.int64),
    "contour_weights": ((0, JAW_POINTS, 3), torch.float32),
    "uv": ((0, 2), torch.float32),
    "uv_faces": ((0, 3), torch.int64),
    "albedo_mean": ((3, 0, 0), torch.float32),
    "albedo_basis": ((0, 3, 0, 0), torch.float32),
}
"""What a head may lack: shape and type of nothing."""


class Head(nn.Module):
    """Blend shapes, pose correctives, joints regressed from the deformed vertices, and linear blend skinning.

    Args:
        template: (v, 3), m.
        faces: (f, 3), counter-clockwise seen from outside.
        shape_basis, expression_basis: (v, 3, s) and (v, 3, e), m per standard deviation.
        pose_basis: (v, 3, 36), m; multiplies the entries of R - I of joints 1 to 4, row by row.
        joint_regressor: (5, v), from deformed vertices to JOINTS.
        weights: (v, 5), skinning weights; each row sums to 1.
        landmark_faces, landmark_weights: (68,) and (68, 3): triangle and barycentric weights of each landmark, in
            iBUG order, so that 0 is at the subject's right ear.
        contour_faces, contour_weights: (79, 17) and (79, 17, 3): the jaw's outline at whole degrees of yaw; rows 0 to
            39 for 0 to 39, rows 40 to 78 for -1 to -39. Positive yaw turns the face to image right.
        uv, uv_faces: (t, 2) in [0, 1], v up, and (f, 3): texture coordinates and their triangles.
        albedo_mean, albedo_basis: (3, h, w) in [0, 1] and (k, 3, h, w) per standard deviation.
        name: what the head is called in files and reports.
        regions: vertex ids by the names in REGIONS.
        expression_names, texture_names: what the leading modes do, where that is known.
        notice: the licence, in a sentence.
        source: sha256 of the model's file: coefficients of one edition of FLAME mean nothing in another.
    """

    template: Tensor
    faces: Tensor
    shape_basis: Tensor
    expression_basis: Tensor
    pose_basis: Tensor
    joint_regressor: Tensor
    weights: Tensor
    landmark_faces: Tensor
    landmark_weights: Tensor
    contour_faces: Tensor
    contour_weights: Tensor
    uv: Tensor
    uv_faces: Tensor
    albedo_mean: Tensor
    albedo_basis: Tensor
    joint_template: Tensor
    joint_shape_basis: Tensor
    joint_expression_basis: Tensor

    def __init__(
        self,
        *,
        template: Any,
        faces: Any,
        shape_basis: Any,
        expression_basis: Any,
        pose_basis: Any,
        joint_regressor: Any,
        weights: Any,
        landmark_faces: Any = None,
        landmark_weights: Any = None,
        contour_faces: Any = None,
        contour_weights: Any = None,
        uv: Any = None,
        uv_faces: Any = None,
        albedo_mean: Any = None,
        albedo_basis: Any = None,
        name: str = "head",
        regions: Mapping[str, np.ndarray] | None = None,
        expression_names: Sequence[str] = (),
        texture_names: Sequence[str] = (),
        notice: str = "",
        source: str = "",
    ) -> None:
        super().__init__()
        self.name, self.notice, self.source = name, notice, source
        self.regions = {k: np.asarray(ids, np.int64) for k, ids in (regions or {}).items()}
        self.expression_names, self.texture_names = list(expression_names), list(texture_names)
        self._put(template=template, faces=faces, joint_regressor=joint_regressor, weights=weights)
        for key, basis in (("shape", shape_basis), ("expression", expression_basis), ("pose", pose_basis)):
            self.register_buffer(f"{key}_basis", _mode_major(_tensor(basis)))
        self._put(landmark_faces=landmark_faces, landmark_weights=landmark_weights)
        self._put(contour_faces=contour_faces, contour_weights=contour_weights)
        self._put(uv=uv, uv_faces=uv_faces, albedo_mean=albedo_mean, albedo_basis=albedo_basis)
        # Joints are linear in the coefficients: J (T + S b + E e) = J T + (J S) b + (J E) e.
        for key in ("template", "shape_basis", "expression_basis"):
            of_joints = torch.tensordot(self.joint_regressor.double(), getattr(self, key).double(), 1).float()
            self.register_buffer(f"joint_{key}", of_joints, persistent=False)
        self.corrects_pose = bool(self.pose_basis.any())

    def _put(self, **arrays: Any) -> None:
        for key, value in arrays.items():
            shape, dtype = EMPTY.get(key, ((), torch.float32))
            self.register_buffer(key, torch.zeros(shape, dtype=dtype) if value is None else _tensor(value))

    def arrays(self) -> dict[str, np.ndarray]:
        """Every array of the constructor, and the regions as regions/NAME."""
        found = {key: tensor.detach().cpu().contiguous().numpy() for key, tensor in self.state_dict().items()}
        return found | {f"regions/{key}": ids for key, ids in self.regions.items()}

    def meta(self) -> dict[str, Any]:
        """Everything else of the constructor."""
        names = {"expression_names": self.expression_names, "texture_names": self.texture_names}
        return {"name": self.name, "notice": self.notice, "source": self.source, **names}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> Self:
        """The head of which `arrays()` and `meta()` were kept."""
        regions = {key.split("/", 1)[1]: ids for key, ids in arrays.items() if key.startswith("regions/")}
        own: dict[str, Any] = {key: array for key, array in arrays.items() if "/" not in key}
        return cls(**own, **meta, regions=regions)

    def vertices(
        self, shape: Tensor, expression: Tensor, pose: Tensor, neck: Tensor | None = None, eyes: Tensor | None = None
    ) -> Tensor:
        """The deformed mesh (n, v, 3).

        Args:
            shape, expression: (n, any number), standard deviations; modes beyond those given are 0, and numbers beyond
                the basis do nothing.
            pose: (n, 6), axis-angle of the whole head about the root joint, and of the jaw.
            neck: (n, 3), axis-angle; None: straight.
            eyes: (n, 6), axis-angle of the left and the right eye; None: straight.
        """
        rotations = rotation_matrices(_full_pose(pose, neck, eyes))
        maps = _joint_maps(self.joints(shape, expression), rotations)
        return _skin(self._deformed(shape, expression, rotations), self.weights.T, maps)

    def _deformed(self, shape: Tensor, expression: Tensor, rotations: Tensor) -> Tensor:
        """The mesh (n, 3, v) before the joints carry it."""
        deformed = self.template.T.reshape(-1) + _blend(shape, self.shape_basis)
        deformed = deformed + _blend(expression, self.expression_basis)
        if self.corrects_pose:
            deformed = deformed + _blend(_pose_feature(rotations), self.pose_basis)
        return deformed.unflatten(1, (3, -1))

    def joints(self, shape: Tensor, expression: Tensor) -> Tensor:
        """JOINTS (n, 5, 3) before the pose turns them."""
        flat = self.joint_template.T.reshape(-1)
        flat = flat + _blend(shape, self.joint_shape_basis) + _blend(expression, self.joint_expression_basis)
        return flat.unflatten(1, (3, -1)).mT

    def landmarks(self, vertices: Tensor, pose: Tensor | None = None, neck: Tensor | None = None) -> Tensor:
        """The 68 landmarks (n, 68, 3) on deformed vertices (n, v, 3).

        pose: (n, 6); the 17 jaw points are then those of the outline at its yaw, without it those of the frontal view.
        """
        corners, weights = self._landmark_corners(None if pose is None else self.contour_rows(pose, neck))
        ids = corners.flatten(1).expand(len(vertices), -1)
        points = vertices.gather(1, ids[..., None].expand(-1, -1, 3)).unflatten(1, (-1, 3))
        return (points * weights[..., None]).sum(2)

    def landmark_points(
        self, shape: Tensor, expression: Tensor, pose: Tensor, rows: Tensor | None = None, neck: Tensor | None = None
    ) -> Tensor:
        """The 68 landmarks (n, 68, 3) straight from coefficients: only their 204 vertices are skinned.

        rows: (n,) from `contour_rows`, held fixed while one differentiates; None: the frontal jaw. For many calls take
        `landmark_head()` once and call its method: it has no vertices but those that some landmark needs.
        """
        corners, weights = self._landmark_corners(rows)
        rotations = rotation_matrices(_full_pose(pose, neck, None))
        at = corners.flatten(1).expand(len(pose), -1)
        points = self._deformed(shape, expression, rotations).expand(len(pose), -1, -1)
        points = points.gather(2, at[:, None].expand(-1, 3, -1))
        points = _skin(points, self.weights[at].mT, _joint_maps(self.joints(shape, expression), rotations))
        return (points.unflatten(1, (-1, 3)) * weights[..., None]).sum(2)

    def contour_rows(self, pose: Tensor, neck: Tensor | None = None) -> Tensor:
        """The row (n,) of the contour table at the yaw of `pose` (n, 6), neck included; not differentiable."""
        turned = rotation_matrices(pose[:, :3].detach())
        if neck is not None:
            turned = turned @ rotation_matrices(neck.detach())
        yaw = torch.atan2(-turned[:, 2, 0], turned[:, :2, 0].norm(dim=1))
        degrees = yaw.rad2deg().clamp(-MAX_YAW_DEG, MAX_YAW_DEG).round().long()
        return torch.where(degrees < 0, MAX_YAW_DEG - degrees, degrees)

    def landmark_head(self) -> Head:
        """A head of the same joints with only the vertices and triangles on which landmarks lie, and no texture."""
        used = torch.cat([self._need_landmarks(), self.contour_faces.flatten()]).unique()
        keep = self.faces[used].unique()
        number = torch.zeros(len(self.template), dtype=torch.int64, device=keep.device)
        number[keep] = torch.arange(len(keep), device=keep.device)
        of_vertices = ("template", "shape_basis", "expression_basis", "pose_basis", "weights")
        arrays: dict[str, Any] = {key: getattr(self, key)[keep] for key in of_vertices}
        arrays |= {key: torch.searchsorted(used, getattr(self, key)) for key in ("landmark_faces", "contour_faces")}
        arrays |= {key: getattr(self, key) for key in ("landmark_weights", "contour_weights")}
        arrays |= {"faces": number[self.faces[used]], "joint_regressor": self.joint_regressor[:, keep]}
        part = Head(**arrays, name=self.name, notice=self.notice, source=self.source)
        for key in ("joint_template", "joint_shape_basis", "joint_expression_basis"):
            setattr(part, key, getattr(self, key).clone())
        return part.to(self.template)

    def normals(self, vertices: Tensor) -> Tensor:
        """Outward unit normals (n, v, 3) of deformed vertices (n, v, 3): those of the triangles, weighted by area."""
        rows = vertices.transpose(0, 1).contiguous()  # (v, n, 3): whole rows move at once
        a, b, c = (rows.index_select(0, self.faces[:, i]) for i in range(3))
        of_faces = torch.linalg.cross(b - a, c - a)
        total = torch.zeros_like(rows)
        for i in range(3):
            total = total.index_add(0, self.faces[:, i], of_faces)
        return nn.functional.normalize(total, dim=-1, eps=1e-20).transpose(0, 1)

    def albedo(self, texture: Tensor) -> Tensor:
        """The skin's colour (n, 3, h, w) in [0, 1] for coefficients (n, any number) in standard deviations."""
        if not self.albedo_mean.numel():
            raise FgError(
                f"head {self.name}: expected a texture, found none; run fg assets import FLAME_texture.npz or use the "
                "procedural head"
            )
        modes = min(texture.shape[1], len(self.albedo_basis))
        offsets = texture[:, :modes] @ self.albedo_basis[:modes].flatten(1)
        return (self.albedo_mean.flatten() + offsets).unflatten(1, self.albedo_mean.shape).clamp(0, 1)

    def _need_landmarks(self) -> Tensor:
        if len(self.landmark_faces) != LANDMARKS:
            raise FgError(
                f"head {self.name}: expected an embedding of 68 landmarks, found none; run fg assets import "
                "landmark_embedding.npy or use the procedural head"
            )
        return self.landmark_faces

    def _landmark_corners(self, rows: Tensor | None) -> tuple[Tensor, Tensor]:
        """Vertex ids and barycentric weights (n or 1, 68, 3), the jaw from `rows` (n,) of the contour table."""
        faces, weights = self._need_landmarks()[None], self.landmark_weights[None]
        if rows is not None:
            if not len(self.contour_faces):
                raise FgError(f"head {self.name}: expected an embedding of the jaw's outline, found none; give no pose")
            jaw, rest = self.contour_faces[rows], faces[:, JAW_POINTS:].expand(len(rows), -1)
            faces = torch.cat([jaw, rest], 1)
            weights = weights[:, JAW_POINTS:].expand(len(rows), -1, -1)
            weights = torch.cat([self.contour_weights[rows], weights], 1)
        return self.faces[faces], weights


def rotation_matrices(axis_angle: Tensor) -> Tensor:
    """Rotations (..., 3, 3) of axis-angle vectors (..., 3), by Rodrigues' formula.

    With a = |r + 1e-8| and K the cross-product matrix of r: R = I + sin(a)/a K + (1 - cos a)/a^2 K^2, where
    (1 - cos a)/a^2 = (sin(a/2)/(a/2))^2 / 2. The 1e-8, which FLAME's own code has, keeps gradients finite at 0.
    """
    angle = (axis_angle + 1e-8).norm(dim=-1)[..., None, None]
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    half = (angle / 2).sin() / (angle / 2)
    return _eye(cross) + angle.sin() / angle * cross + half.square() / 2 * (cross @ cross)


def axis_angle(rotations: Tensor) -> Tensor:
    """Axis-angle (n, 3) of rotations (n, 3, 3) by less than a half turn; the inverse of `rotation_matrices`."""
    twist = torch.stack([rotations[:, 2, 1] - rotations[:, 1, 2], rotations[:, 0, 2] - rotations[:, 2, 0],
                         rotations[:, 1, 0] - rotations[:, 0, 1]], 1) / 2  # fmt: skip
    sine, cosine = twist.norm(dim=1, keepdim=True), (rotations.diagonal(dim1=1, dim2=2).sum(1, keepdim=True) - 1) / 2
    return twist * (torch.atan2(sine, cosine) / sine.clamp_min(1e-9))


def _eye(like: Tensor) -> Tensor:
    return torch.eye(3, dtype=like.dtype, device=like.device)


def _tensor(value: Any) -> Tensor:
    tensor = torch.as_tensor(value)
    return tensor.float() if tensor.is_floating_point() else tensor.long()


def _mode_major(basis: Tensor) -> Tensor:
    """The same (v, 3, k), laid out in memory as (k, 3, v): any prefix of modes is then one block for the product."""
    return basis.permute(2, 1, 0).contiguous().permute(2, 1, 0)


def _blend(coefficients: Tensor, basis: Tensor) -> Tensor:
    """The sum of modes (n, 3 v), all x first, for coefficients (n, any number) and a basis (v, 3, k)."""
    modes = min(coefficients.shape[1], basis.shape[2])
    return coefficients[:, :modes] @ basis.permute(2, 1, 0)[:modes].flatten(1)


def _full_pose(pose: Tensor, neck: Tensor | None, eyes: Tensor | None) -> Tensor:
    """Axis-angle (n, 5, 3) of JOINTS."""
    n = len(pose)
    neck = pose.new_zeros(n, 3) if neck is None else neck
    eyes = pose.new_zeros(n, 6) if eyes is None else eyes
    return torch.cat([pose[:, :3], neck, pose[:, 3:6], eyes], 1).unflatten(1, (5, 3))


def _pose_feature(rotations: Tensor) -> Tensor:
    """R - I (n, 36) of joints 1 to 4 of rotations (n, 5, 3, 3)."""
    return (rotations[:, 1:] - _eye(rotations)).flatten(1)


def _joint_maps(joints: Tensor, rotations: Tensor) -> Tensor:
    """The map (n, 5, 3, 4), linear part and offset, by which each joint carries points of the unposed head.

    A joint turns about where its parent took it: with R_j, J_j its rotation and place, G_j = G_parent R_j and
    p_j = p_parent + G_parent (J_j - J_parent), it maps x to G_j (x - J_j) + p_j. PARENTS: root, neck, all the rest.
    """
    root, neck = rotations[:, :1], rotations[:, :1] @ rotations[:, 1:2]
    linear = torch.cat([root, neck, neck @ rotations[:, 2:]], 1)
    places = joints[..., None]
    at_neck = places[:, :1] + root @ (places[:, 1:2] - places[:, :1])
    at_rest = at_neck + neck @ (places[:, 2:] - places[:, 1:2])
    posed = torch.cat([places[:, :1].expand_as(at_neck), at_neck, at_rest], 1)
    return torch.cat([linear, posed - linear @ places], -1)


def _skin(points: Tensor, weights: Tensor, maps: Tensor) -> Tensor:
    """Points (n, p, 3): each of `points` (n, 3, p) carried by the mean of `maps` (n, 5, 3, 4), `weights` (.., 5, p)."""
    *linear, carried = (maps.flatten(2).mT @ weights).unflatten(1, (3, 4)).unbind(2)  # four times (n, 3, p)
    for column, coordinate in zip(linear, points[:, None].unbind(2), strict=True):
        carried = torch.addcmul(carried, column, coordinate)  # three fused sums: faster than p small products
    return carried.mT.contiguous()
