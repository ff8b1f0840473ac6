"""What the atlas's meshes lack: lungs, canal and cord, glands, cheeks, airways, teeth, vessels, fat and other tissue.

Places are LPS millimetres (z, y, x) of the one body that the meshes describe, read off its neighbouring structures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Point = tuple[float, float, float]

_LOBES = ("lung_upper_lobe_left", "lung_lower_lobe_left", "lung_upper_lobe_right", "lung_middle_lobe_right",
          "lung_lower_lobe_right")  # fmt: skip
_MEDIASTINUM = ("heart_myocardium", "heart_atrium_left", "heart_atrium_right", "heart_ventricle_left",
                "heart_ventricle_right", "aorta", "pulmonary_artery", "pulmonary_vein", "superior_vena_cava",
                "inferior_vena_cava", "trachea", "bronchus", "esophagus", "thymus", "brachiocephalic_trunk",
                "brachiocephalic_vein_left", "brachiocephalic_vein_right", "common_carotid_artery_left",
                "common_carotid_artery_right")  # fmt: skip
_UNDER_DIAPHRAGM = ("diaphragm", "liver", "spleen", "stomach", "kidney_left", "kidney_right", "colon")


class _Frame:
    """A labelmap with its place in millimetres: masks by name, points to voxels, simple solids."""

    def __init__(self, labels: Labels, names: dict[str, int], spacing_mm: float, low_mm: Point) -> None:
        self.labels, self.names, self.spacing, self.low = labels, names, spacing_mm, np.array(low_mm)

    def mask(self, *wanted: str, step: int = 1) -> Mask:
        chosen = np.zeros(256, bool)
        chosen[[self.names[n] for n in wanted if n in self.names]] = True
        return chosen[self.labels[::step, ::step, ::step]]

    def paint(self, name: str, where: Mask, *, over: tuple[str, ...] = (), step: int = 1) -> None:
        """Give voxels to a structure; only those that are free or belong to `over`."""
        if step > 1:
            where = _upsample(where, self.labels.shape)
        free = np.zeros(256, bool)
        free[[0] + [self.names[n] for n in over]] = True
        self.labels[where & free[self.labels]] = self.names[name]

    def box(self, low: Point, high: Point) -> tuple[slice, ...]:
        start = np.floor((np.array(low) - self.low) / self.spacing).astype(int)
        stop = np.ceil((np.array(high) - self.low) / self.spacing).astype(int) + 1
        return tuple(slice(max(0, int(a)), max(0, int(b))) for a, b in zip(start, stop, strict=True))

    def grid(self, place: tuple[slice, ...]) -> list[NDArray[np.float64]]:
        """Open grid of the millimetres of a box's voxels."""
        axes = [np.arange(p.start, min(p.stop, n)) for p, n in zip(place, self.labels.shape, strict=True)]
        return list(np.ix_(*[a * self.spacing + o for a, o in zip(axes, self.low, strict=True)]))

    def solid(self, name: str, centre: Point, radii: Point, *, over: tuple[str, ...] = ()) -> None:
        """Paint an ellipsoid."""
        place = self.box(*(tuple(np.array(centre) + s * np.array(radii)) for s in (-1, 1)))
        z, y, x = self.grid(place)
        inside = sum(((g - c) / r) ** 2 for g, c, r in zip((z, y, x), centre, radii, strict=True)) < 1
        _Frame(self.labels[place], self.names, self.spacing, (0, 0, 0)).paint(name, np.asarray(inside), over=over)

    def tube(self, name: str, path: list[Point], radius: float, *, over: tuple[str, ...] = (), flat: float = 1) -> None:
        """Paint a tube along a polyline; `flat` widens it from side to side."""
        corners = np.array(path, float)
        length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
        steps = np.linspace(0, length[-1], int(length[-1] / self.spacing) + 2)
        line = np.stack([ndimage.gaussian_filter1d(np.interp(steps, length, corners[:, a]), 3, mode="nearest")
                         for a in range(3)], 1)  # fmt: skip
        place = self.box(tuple(line.min(0) - radius * flat), tuple(line.max(0) + radius * flat))
        z, y, x = np.broadcast_arrays(*self.grid(place))
        squeeze = np.array([1, 1, 1 / flat])
        away, _ = cKDTree(line * squeeze).query(np.stack([z, y, x], -1).reshape(-1, 3) * squeeze,
                                                distance_upper_bound=radius)  # fmt: skip
        inside = np.isfinite(away).reshape(z.shape)
        _Frame(self.labels[place], self.names, self.spacing, (0, 0, 0)).paint(name, inside, over=over)


def _upsample(field: NDArray[np.generic], shape: tuple[int, ...]) -> Mask:
    """A coarse mask on the fine grid, its border smoothed on the way."""
    soft = ndimage.gaussian_filter(field.astype(np.float32), 0.7)
    return np.asarray(ndimage.zoom(soft, [n / m for n, m in zip(shape, field.shape, strict=True)], order=1) > 0.5)


def _ball(mask: Mask, radius: float, *, grow: bool = True) -> Mask:
    """Dilation (or erosion) by a ball of so many voxels."""
    away = ndimage.distance_transform_edt(~mask if grow else mask)
    return np.asarray(away <= radius if grow else away > radius)


def _closed(mask: Mask, radius: float) -> Mask:
    return _ball(_ball(mask, radius), radius, grow=False)


def fill_gaps(
    labels: Labels, body: Mask, bronchi: dict[str, NDArray[np.float64]], names: dict[str, int], spacing_mm: float, low_mm: Point
) -> tuple[Labels, Mask]:
    """Add what is missing to `labels` in place.

    Parameters
    ----------
    body
        Inside of the skin.
    bronchi
        Points of each lobe's bronchial tree, (z, y, x) in voxels.

    Returns
    -------
    vessel, arm
        Filled fraction (0 to 255) of the vessels inside lungs and liver; the arms.
    """
    frame = _Frame(labels, names, spacing_mm, low_mm)
    _head(frame, body)
    _canal_and_cord(frame)
    _neck(frame)
    _lungs(frame, body, bronchi)
    heart = _closed(frame.mask(*[n for n in _MEDIASTINUM if n.startswith("heart")], step=2), 3)
    frame.paint("heart_tissue", heart, step=2)
    _discs(frame)
    arm = _arms(frame, body)
    _rest(frame, body)
    return _vessels(frame), arm


def _head(frame: _Frame, body: Mask) -> None:
    place = frame.box((1535, -230, -100), (1799, 60, 100))
    inner = _Frame(frame.labels[place], frame.names, frame.spacing, tuple(frame.low + [p.start * frame.spacing for p in place]))
    skin = body[place]
    mm = frame.spacing
    # The brain's meshes end at its gyri: everything between them and the skull counts as brain.
    cavity = _closed(inner.mask("brain", "brainstem", "ventricle", step=2), 8 / (2 * mm))
    inner.paint("brain", cavity, step=2)
    near = _ball(inner.mask("brain", "brainstem", step=2), 10 / (2 * mm))
    near &= _closed(inner.mask("brain", "brainstem", "skull", step=2), 12 / (2 * mm))
    near[: round((1612 - inner.low[0]) / (2 * mm))] = False
    inner.paint("brain", near, step=2)
    z, y, x = inner.grid(inner.box(tuple(inner.low), (1799, 60, 100)))
    z, y, x = z[: skin.shape[0]], y[:, : skin.shape[1]], x[:, :, : skin.shape[2]]
    # Nose: behind the nostrils, between the maxillary sinuses, above the palate.
    passage = (np.abs(x) < 15 - 0.12 * np.abs(z - 1618)) & (z > 1602) & (z < 1650) & (y > -188) & (y < -122)
    inner.paint("nasal_cavity", passage & skin, over=("soft",))
    for side in (-1, 1):
        sinus = ((z - 1622) / 17) ** 2 + ((y + 160) / 16) ** 2 + ((x - side * 29) / 12) ** 2 < 1
        inner.paint("airway", sinus)
        inner.paint("airway", ((z - 1640) / 9) ** 2 + ((y + 128) / 11) ** 2 + ((x - side * 9) / 8) ** 2 < 1)
        name = "left" if side > 0 else "right"
        # Parotid: behind the ramus, in front of the ear, under the skin.
        gland = ((z - 1592) / 30) ** 2 + ((y + 100) / 17) ** 2 + ((x - side * 57) / 13) ** 2 < 1
        inner.paint(f"parotid_{name}", gland & skin, over=("muscle", "vein", "artery"))
        shallow = (z > 1568) & (z < 1618) & (y > -186) & (y < -140) & (side * x > 24) & skin
        inner.paint(f"cheek_{name}", shallow & _ball(skin, 2 / mm, grow=False), over=("muscle",))
    for upper, z_mm in ((True, 1586.0), (False, 1574.0)):
        for angle in np.linspace(-1.25, 1.25, 14):
            centre = (z_mm, -150 - 38 * float(np.cos(angle)) + 8, 26 * float(np.sin(angle)))
            inner.solid("teeth_upper" if upper else "teeth_lower", centre, (8, 4, 3.4), over=("soft", "muscle", "skull", "mandible"))


def _neck(frame: _Frame) -> None:
    over = ("muscle", "soft", "gland", "artery", "vein", "cartilage")
    frame.tube("larynx", [(1552, -121, -1), (1530, -119, -1), (1512, -114, -1)], 13, over=("soft", "muscle", "gland"), flat=1.25)
    frame.tube("airway", [(1640, -122, -1), (1610, -112, -1), (1575, -109, -1), (1550, -112, -1)], 6.5, over=over, flat=1.5)
    frame.tube("airway", [(1552, -112, -1), (1535, -118, -1), (1512, -112, -1)], 5.5, over=(*over, "larynx"), flat=1)
    for side, name in ((1, "left"), (-1, "right")):
        frame.tube(f"thyroid_{name}", [(1478, -122, side * 15), (1500, -120, side * 17), (1518, -116, side * 18)], 7.5, over=over)
        frame.solid(f"thyroid_{name}", (1490, -130, side * 5), (8, 4, 9), over=over)
        frame.tube(f"common_carotid_artery_{name}", [(1484, -118, side * 22), (1520, -114, side * 25), (1545, -112, side * 28)], 3.6, over=over)
        frame.tube(f"internal_carotid_artery_{name}", [(1545, -110, side * 28), (1560, -108, side * 30)], 3, over=over)
        path: list[Point] = [(1450, -126, side * 27), (1490, -128, side * 30), (1530, -112, side * 36), (1575, -98, side * 38), (1600, -90, side * 36)]
        frame.tube(f"internal_jugular_vein_{name}", path, 5.5, over=over)


def _canal_and_cord(frame: _Frame) -> None:
    """A tube through the centres of the holes that the vertebral arches enclose."""
    levels = [*(f"C{i}" for i in range(1, 8)), *(f"T{i}" for i in range(1, 13)), *(f"L{i}" for i in range(1, 6))]
    path: list[Point] = [(1622.0, -75.0, -1.5), (1608.0, -70.0, -1.5)]
    mm = frame.spacing
    for level in levels:
        place = ndimage.find_objects((frame.labels == frame.names[f"vertebrae_{level}"]).astype(np.int8))[0]
        low, bone = frame.low + [p.start * mm for p in place], frame.labels[place] == frame.names[f"vertebrae_{level}"]
        shadow = bone.any(0)
        hole = ndimage.binary_fill_holes(shadow) & ~shadow
        parts, n = ndimage.label(hole)
        if n == 0:
            continue
        areas = ndimage.sum_labels(hole, parts, range(1, n + 1))
        # The transverse foramina are holes too: the canal is the largest one near the midline.
        centres = np.array(ndimage.center_of_mass(hole, parts, range(1, n + 1))) * mm + low[1:]
        best = int(np.argmax(np.where(np.abs(centres[:, 1] + 1.5) < 12, areas, 0)))
        arch = np.flatnonzero((bone & ndimage.binary_dilation(parts == best + 1, iterations=4)).any((1, 2))).mean()
        path.append((float(low[0] + arch * mm), float(centres[best, 0]), float(centres[best, 1])))
    path = sorted(path, reverse=True)
    bottom = path[-1]
    path += [(bottom[0] - 35, bottom[1] + 22, bottom[2]), (bottom[0] - 70, bottom[1] + 38, bottom[2])]
    frame.tube("spinal_canal", path, 8.0, over=("muscle", "soft", "vein", "artery"), flat=1.25)
    cord = [p for p in path if p[0] > 1120] + [(1110.0, *next(p for p in path if p[0] <= 1120)[1:])]
    frame.tube("spinal_cord", cord, 4.2, over=("spinal_canal", "muscle", "soft"), flat=1.35)


def _discs(frame: _Frame) -> None:
    """Between neighbouring vertebrae, in front of the canal."""
    names = [f"vertebrae_{v}" for v in [*(f"C{i}" for i in range(2, 8)), *(f"T{i}" for i in range(1, 13)), *(f"L{i}" for i in range(1, 6))]]
    bone = frame.mask(*names, "sacrum")
    reach = round(13 / frame.spacing)
    gap = ndimage.binary_closing(bone, np.ones((reach, 1, 1), bool)) & ~bone
    canal = frame.mask("spinal_canal", "spinal_cord")
    # Slices that the canal crosses tell where its front wall is.
    front = np.where(canal.any(1), canal.argmax(1), 0).max(1)
    gap &= np.arange(gap.shape[1])[None, :, None] < (front[:, None, None] - 1)
    frame.paint("disc", ndimage.binary_opening(gap, np.ones((1, 3, 3), bool)), over=("muscle", "soft"))


def _lungs(frame: _Frame, body: Mask, bronchi: dict[str, NDArray[np.float64]]) -> None:
    """The rib cage's inside above the diaphragm, less the mediastinum; lobes by the nearest segmental bronchus."""
    step, mm = 2, 2 * frame.spacing
    ribs = frame.mask(*[n for n in frame.names if n.startswith("rib_")], "costal_cartilages", "sternum", "sternum_manubrium", step=step)
    spine = frame.mask(*[n for n in frame.names if n.startswith("vertebrae_")], step=step)
    z_mm = frame.low[0] + np.arange(ribs.shape[0]) * mm
    y_mm, x_mm = (frame.low[a] + np.arange(ribs.shape[a]) * mm for a in (1, 2))
    y, x = np.meshgrid(y_mm + 95, x_mm, indexing="ij")
    bins = 180
    angle = ((np.arctan2(x, y) / (2 * np.pi) * bins).astype(int)) % bins
    radius = np.hypot(y, x)
    # Inner radius of the ribs by height and angle around the middle of the chest, smoothed over what lies between ribs.
    total, weight = np.zeros((ribs.shape[0], bins)), np.zeros((ribs.shape[0], bins))
    for at in np.flatnonzero(ribs.any((1, 2))):
        inner = np.full(bins, np.inf)
        np.minimum.at(inner, angle[ribs[at]], radius[ribs[at]])
        seen = np.isfinite(inner) & (inner > 20)
        total[at, seen], weight[at, seen] = inner[seen], 1
    smooth = [ndimage.gaussian_filter(f, (8 / mm, 3), mode=("nearest", "wrap")) for f in (total, weight)]
    wall = smooth[0] / np.maximum(smooth[1], 1e-9)
    top = 1492.0
    wall *= np.sqrt(np.clip(1 - np.clip((z_mm - (top - 45)) / 45, 0, 1) ** 2, 0, 1))[:, None]
    chest = radius[None] < (wall - 3)[:, angle]
    chest &= body[::step, ::step, ::step] & ~_ball(spine, 1.5)
    below = frame.mask(*_UNDER_DIAPHRAGM, step=step)
    floor = np.where(below.any(0), below.shape[0] - 1 - below[::-1].argmax(0), 0).astype(float)
    known = ndimage.gaussian_filter((floor > 0).astype(float), 2)
    floor = np.where(floor > 0, floor, ndimage.gaussian_filter(floor, 2) / np.maximum(known, 1e-6) - 4)
    chest &= np.arange(chest.shape[0])[:, None, None] > floor[None] + 1
    chest[z_mm < 1150] = False
    core = _closed(frame.mask(*_MEDIASTINUM, step=step) | (spine & (z_mm[:, None, None] > 1150)), 13 / mm)
    core |= (np.abs(x_mm) < 5)[None, None, :] & chest
    lungs = ndimage.binary_opening(chest & ~_ball(core, 1.2) & ~ribs)
    parts, n = ndimage.label(lungs)
    size = ndimage.sum_labels(lungs, parts, range(1, n + 1))
    lungs = np.isin(parts, 1 + np.flatnonzero(size > 3e4 / mm**3))
    place = np.argwhere(lungs)
    away = np.stack([cKDTree(bronchi[n] / step).query(place)[0] for n in _LOBES], 1)
    wrong_side = (x_mm[place[:, 2]] > 0)[:, None] != np.array([n.endswith("left") for n in _LOBES])
    away[wrong_side] = 1e3
    field = np.full((len(_LOBES), *lungs.shape), 1e3, np.float32)
    field[:, place[:, 0], place[:, 1], place[:, 2]] = away.T
    inside = ndimage.gaussian_filter(lungs.astype(np.float32), 2) + 1e-6
    for lobe in range(len(_LOBES)):  # smooth fissures: average the distance inside the lung only
        field[lobe] = ndimage.gaussian_filter(np.where(lungs, field[lobe], 0), 2) / inside
    nearest = field.argmin(0)
    fine = _upsample(lungs, frame.labels.shape)
    lobe_fine = np.argmin([ndimage.zoom(f, [n / m for n, m in zip(fine.shape, lungs.shape, strict=True)], order=1) for f in field], 0) \
        if fine.size < 2e6 else np.repeat(np.repeat(np.repeat(nearest, 2, 0), 2, 1), 2, 2)[: fine.shape[0], : fine.shape[1], : fine.shape[2]]  # fmt: skip
    for lobe, name in enumerate(_LOBES):
        frame.paint(name, fine & (lobe_fine == lobe), over=("muscle", "artery", "vein"))


def _arms(frame: _Frame, body: Mask) -> Mask:
    """What is nearer to the humerus or forearm than to the trunk's bones, outside the shoulder joint."""
    step = 4
    limb = frame.mask("humerus_left", "humerus_right", "other_bone", step=step)
    x = np.abs(frame.low[2] + np.arange(limb.shape[2]) * step * frame.spacing)
    limb &= (x > 140)[None, None, :]
    trunk = frame.mask("scapula_left", "scapula_right", "clavicula_left", "clavicula_right", "hip_left", "hip_right", "femur_left",
                       "femur_right", *[n for n in frame.names if n.startswith("rib_")], step=step)  # fmt: skip
    closer = ndimage.distance_transform_edt(~limb) < ndimage.distance_transform_edt(~trunk)
    closer &= (x > 142)[None, None, :]
    return np.asarray(_upsample(closer, frame.labels.shape) & body)


def _rest(frame: _Frame, body: Mask) -> None:
    """Fat under the skin; the tissue around the organs of the abdomen and the chest."""
    _thicken_muscles(frame, body)
    step, mm = 2, 2 * frame.spacing
    wall = frame.mask("muscle", "costal_cartilages", "sternum", "sacrum", "hip_left", "hip_right", "diaphragm",
                      *[n for n in frame.names if n.startswith(("rib_", "gluteus", "autochthon", "vertebrae", "iliopsoas", "femur"))],
                      step=step)  # fmt: skip
    organs = frame.mask("liver", "spleen", "stomach", "small_bowel", "colon", "duodenum", "pancreas", "kidney_left", "kidney_right",
                        "urinary_bladder", "rectum", "aorta", "inferior_vena_cava", step=step)  # fmt: skip
    # The peritoneal cavity has no mesh: a ball that spans the bowel loops finds it.
    cavity = _upsample(_closed(organs[::2, ::2, ::2], 42 / (2 * mm)), wall.shape) & ~wall
    cavity &= ndimage.distance_transform_edt(body[::step, ::step, ::step]) > 14 / mm
    z = frame.low[0] + np.arange(wall.shape[0]) * mm
    x = frame.low[2] + np.arange(wall.shape[2]) * mm
    chest = _closed(frame.mask(*_MEDIASTINUM, "sternum", step=step), 20 / mm)
    chest &= (z[:, None, None] > 1255) & (z[:, None, None] < 1465) & (np.abs(x) < 100)
    frame.paint("mediastinal_tissue", chest, step=step)
    cavity &= (z[:, None, None] > 815) & (z[:, None, None] < 1290)
    frame.paint("abdominal_tissue", cavity, step=step)
    _more_bowel(frame)
    frame.labels[(frame.labels == 0) & body] = frame.names["fat"]
    frame.labels[~body & (frame.labels == frame.names["fat"])] = 0


def _thicken_muscles(frame: _Frame, body: Mask) -> None:
    """Give the thin gaps between muscles and bones to the nearest muscle: the meshes are leaner than anyone."""
    step, mm = 2, 2 * frame.spacing
    named = [n for n in frame.names if n.startswith(("gluteus", "autochthon", "iliopsoas"))]
    flesh = frame.mask("muscle", *named, step=step)
    bone = frame.mask("sternum", "sacrum", "hip_left", "hip_right", "femur_left", "femur_right", "scapula_left", "scapula_right",
                      "humerus_left", "humerus_right", "costal_cartilages",
                      *[n for n in frame.names if n.startswith(("rib_", "vertebrae"))], step=step)  # fmt: skip
    gap = _closed(flesh | bone, 11 / mm) & (ndimage.distance_transform_edt(body[::step, ::step, ::step]) > 6 / mm)
    nearest = ndimage.distance_transform_edt(~flesh, return_distances=False, return_indices=True)
    coarse = frame.labels[::step, ::step, ::step]
    owner = coarse[tuple(nearest)]
    for name in ("muscle", *named):
        frame.paint(name, gap & (owner == frame.names[name]), step=step)


def _more_bowel(frame: _Frame) -> None:
    """Small bowel loops where the meshes leave the abdomen empty."""
    rng = np.random.default_rng(7)
    for _ in range(9):
        middle = np.array([rng.uniform(930, 1080), rng.uniform(-175, -120), rng.uniform(-70, 70)])
        turns = np.cumsum(rng.normal(0, [14, 9, 22], (9, 3)), 0)
        path = middle + turns - turns.mean(0)
        frame.tube("small_bowel", [tuple(p) for p in path], float(rng.uniform(10, 14)), over=("abdominal_tissue",))


def _vessels(frame: _Frame) -> Labels:
    """Branching trees in the lungs' lobes and the liver, as filled fractions."""
    rng = np.random.default_rng(0)
    out = np.zeros(frame.labels.shape, np.float32)
    mm = frame.spacing
    roots: list[tuple[str, Point, int, float]] = [("liver", (1190.0, -140.0, -30.0), 260, 5.0)]
    for lobe in _LOBES:
        left = lobe.endswith("left")
        roots.append((lobe, (1350.0, -95.0, 42.0 if left else -42.0), 420 if "middle" not in lobe else 200, 5.5))
    for name, root, count, root_radius in roots:
        mask = frame.mask(name)
        if not mask.any():
            continue
        inside = np.argwhere(mask)
        points = inside[rng.choice(len(inside), count)] * mm + frame.low
        points = points[np.argsort(np.linalg.norm(points - root, axis=1))]
        nodes, parent, run = [np.array(root)], [-1], [0.0]
        for point in points:  # greedy tree: short twigs, but no detours from the root
            gaps = np.linalg.norm(np.array(nodes) - point, axis=1)
            best = int(np.argmin(gaps + 0.35 * np.array(run)))
            nodes.append(point)
            parent.append(best)
            run.append(run[best] + float(gaps[best]))
        leaves = np.ones(len(nodes))
        for node in range(len(nodes) - 1, 0, -1):
            leaves[parent[node]] += leaves[node]
        for node in range(1, len(nodes)):
            radius = max(0.45, root_radius * (leaves[node] / leaves[0]) ** 0.42)
            a, b = nodes[parent[node]], nodes[node]
            n = max(2, int(np.linalg.norm(b - a) / (0.5 * mm)))
            t = np.linspace(0, 1, n)[:, None]
            bend = rng.normal(0, 0.06, 3) * np.linalg.norm(b - a) * np.sin(np.pi * t)
            _stamp(out, (a + (b - a) * t + bend - frame.low) / mm, radius / mm)
    return (np.clip(out, 0, 1) * 255).astype(np.uint8)


def _stamp(out: NDArray[np.float32], line_vox: NDArray[np.float64], radius_vox: float) -> None:
    """Draw balls along a line; a vessel thinner than a voxel fills it in part."""
    reach = int(np.ceil(radius_vox + 0.5))
    offset = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
    cell = np.round(line_vox).astype(int)
    spot = cell[:, None] + offset
    fill = np.clip(radius_vox + 0.5 - np.linalg.norm(spot - line_vox[:, None], axis=-1), 0, min(1.0, 2 * radius_vox))
    keep = ((spot >= 0) & (spot < out.shape)).all(-1) & (fill > 0)
    spot = spot[keep]
    np.maximum.at(out, (spot[:, 0], spot[:, 1], spot[:, 2]), fill[keep].astype(np.float32))
