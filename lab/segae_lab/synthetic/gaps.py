"""What the atlas's meshes lack: lungs, canal and cord, glands, cheeks, airways, teeth, vessels, fat and other tissue.

Places are LPS millimetres (z, y, x) of the one body that the meshes describe, read off its neighbouring structures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from segae_lab.synthetic.frame import Frame, Labels, Mask, Point, closed, grown, upsample
from segae_lab.synthetic.vessel_tree import LUNG_LOBES, grow_vessels

_MEDIASTINUM = ("heart_myocardium", "heart_atrium_left", "heart_atrium_right", "heart_ventricle_left",
                "heart_ventricle_right", "aorta", "pulmonary_artery", "pulmonary_vein", "superior_vena_cava",
                "inferior_vena_cava", "trachea", "bronchus", "esophagus", "thymus", "brachiocephalic_trunk",
                "brachiocephalic_vein_left", "brachiocephalic_vein_right", "common_carotid_artery_left",
                "common_carotid_artery_right")  # fmt: skip
_UNDER_DIAPHRAGM = ("diaphragm", "liver", "spleen", "stomach", "kidney_left", "kidney_right", "colon")


def fill_gaps(
    labels: Labels,
    body: Mask,
    bronchi: dict[str, NDArray[np.float64]],
    names: dict[str, int],
    spacing_mm: float,
    low_mm: Point,
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
    frame = Frame(labels, names, spacing_mm, low_mm)
    _under_diaphragm(frame)
    _head(frame, body)
    _canal_and_cord(frame)
    _neck(frame)
    _lungs(frame, body, bronchi)
    heart = closed(frame.mask(*[n for n in _MEDIASTINUM if n.startswith("heart")], step=2), 3)
    frame.paint("heart_tissue", heart, step=2)
    _discs(frame)
    _first_sacral(frame)
    arm = _arms(frame, body)
    _rest(frame, body)
    return grow_vessels(frame), arm


def _under_diaphragm(frame: Frame) -> None:
    """Close the liver's segments to one organ; let liver, spleen and stomach reach the diaphragm."""
    step, mm = 2, 2 * frame.spacing
    frame.paint("liver", closed(frame.mask("liver", step=step), 6 / mm), step=step)
    dome = frame.mask("diaphragm", step=step)
    organs = ("liver", "spleen", "stomach")
    solid = frame.mask(*organs, step=step)
    gap = closed(solid | dome, 20 / mm) & ~solid
    away, nearest = ndimage.distance_transform_edt(~solid, return_indices=True)
    gap &= away < 16 / mm
    # The diaphragm itself stays a thin sheet: its lower half goes to the organ that it covers.
    gap &= ~dome | (away < 5 / mm)
    owner = frame.labels[::step, ::step, ::step][tuple(nearest)]
    for name in organs:
        # With the organ itself, so that no seam is left between it and what it gains.
        frame.paint(name, (gap | solid) & (owner == frame.names[name]), over=("diaphragm",), step=step)


def _head(frame: Frame, body: Mask) -> None:
    place = frame.box((1535, -230, -100), (1799, 60, 100))
    inner = Frame(
        frame.labels[place], frame.names, frame.spacing, tuple(frame.low + [p.start * frame.spacing for p in place])
    )
    skin = body[place]
    mm = frame.spacing
    # The brain's meshes end at its gyri: everything between them and the skull counts as brain.
    cavity = closed(inner.mask("brain", "brainstem", "ventricle", step=2), 8 / (2 * mm))
    inner.paint("brain", cavity, step=2)
    near = grown(inner.mask("brain", "brainstem", step=2), 10 / (2 * mm))
    near &= closed(inner.mask("brain", "brainstem", "skull", step=2), 12 / (2 * mm))
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
        inner.paint(f"cheek_{name}", shallow & grown(skin, 2 / mm, grow=False), over=("muscle",))
    for upper, z_mm in ((True, 1586.0), (False, 1574.0)):
        for angle in np.linspace(-1.25, 1.25, 14):
            centre = (z_mm, -150 - 38 * float(np.cos(angle)) + 8, 26 * float(np.sin(angle)))
            inner.solid(
                "teeth_upper" if upper else "teeth_lower",
                centre,
                (8, 4, 3.4),
                over=("soft", "muscle", "skull", "mandible"),
            )


def _neck(frame: Frame) -> None:
    over = ("muscle", "soft", "gland", "artery", "vein", "cartilage")
    frame.tube(
        "larynx",
        [(1552, -121, -1), (1530, -119, -1), (1512, -114, -1)],
        13,
        over=("soft", "muscle", "gland"),
        flat=1.25,
    )
    frame.tube(
        "airway", [(1640, -122, -1), (1610, -112, -1), (1575, -109, -1), (1550, -112, -1)], 6.5, over=over, flat=1.5
    )
    frame.tube("airway", [(1552, -112, -1), (1535, -118, -1), (1512, -112, -1)], 5.5, over=(*over, "larynx"), flat=1)
    for side, name in ((1, "left"), (-1, "right")):
        frame.tube(
            f"thyroid_{name}",
            [(1478, -122, side * 15), (1500, -120, side * 17), (1518, -116, side * 18)],
            7.5,
            over=over,
        )
        frame.solid(f"thyroid_{name}", (1490, -130, side * 5), (8, 4, 9), over=over)
        frame.tube(
            f"common_carotid_artery_{name}",
            [(1484, -118, side * 22), (1520, -114, side * 25), (1545, -112, side * 28)],
            3.6,
            over=over,
        )
        frame.tube(f"internal_carotid_artery_{name}", [(1545, -110, side * 28), (1560, -108, side * 30)], 3, over=over)
        path: list[Point] = [
            (1450, -126, side * 27),
            (1490, -128, side * 30),
            (1530, -112, side * 36),
            (1575, -98, side * 38),
            (1600, -90, side * 36),
        ]
        frame.tube(f"internal_jugular_vein_{name}", path, 5.5, over=over)


def _canal_and_cord(frame: Frame) -> None:
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


def _discs(frame: Frame) -> None:
    """Between neighbouring vertebrae, in front of the canal."""
    names = [
        f"vertebrae_{v}"
        for v in [*(f"C{i}" for i in range(2, 8)), *(f"T{i}" for i in range(1, 13)), *(f"L{i}" for i in range(1, 6))]
    ]
    bone = frame.mask(*names, "sacrum")
    reach = round(13 / frame.spacing)
    gap = ndimage.binary_closing(bone, np.ones((reach, 1, 1), bool)) & ~bone
    canal = frame.mask("spinal_canal", "spinal_cord")
    # Slices that the canal crosses tell where its front wall is.
    front = np.where(canal.any(1), canal.argmax(1), 0).max(1)
    gap &= np.arange(gap.shape[1])[None, :, None] < (front[:, None, None] - 1)
    frame.paint("disc", ndimage.binary_opening(gap, np.ones((1, 3, 3), bool)), over=("muscle", "soft"))


def _first_sacral(frame: Frame) -> None:
    """The sacrum's first 32 mm along its axis, which leans backwards."""
    sacrum = frame.mask("sacrum")
    place = ndimage.find_objects(sacrum.astype(np.int8))[0]
    z, y, _ = frame.grid(place)
    along = -0.86 * (z - 1000) + 0.51 * (y + 75)
    part = frame.labels[place]
    part[sacrum[place] & (along < 32)] = frame.names["vertebrae_S1"]


def _lungs(frame: Frame, body: Mask, bronchi: dict[str, NDArray[np.float64]]) -> None:
    """The rib cage's inside above the diaphragm, less the mediastinum; lobes by the nearest segmental bronchus."""
    step, mm = 2, 2 * frame.spacing
    ribs = frame.mask(
        *[n for n in frame.names if n.startswith("rib_")],
        "costal_cartilages",
        "sternum",
        "sternum_manubrium",
        step=step,
    )
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
    chest &= body[::step, ::step, ::step] & ~grown(spine, 1.5)
    below = frame.mask(*_UNDER_DIAPHRAGM, step=step)
    floor = np.where(below.any(0), below.shape[0] - 1 - below[::-1].argmax(0), 0).astype(float)
    known = ndimage.gaussian_filter((floor > 0).astype(float), 2)
    floor = np.where(floor > 0, floor, ndimage.gaussian_filter(floor, 2) / np.maximum(known, 1e-6) - 4)
    chest &= np.arange(chest.shape[0])[:, None, None] > floor[None] + 1
    chest[z_mm < 1150] = False
    core = closed(frame.mask(*_MEDIASTINUM, step=step) | (spine & (z_mm[:, None, None] > 1150)), 13 / mm)
    core |= (np.abs(x_mm) < 5)[None, None, :] & chest
    lungs = ndimage.binary_opening(chest & ~grown(core, 1.2) & ~ribs)
    parts, n = ndimage.label(lungs)
    size = ndimage.sum_labels(lungs, parts, range(1, n + 1))
    lungs = np.isin(parts, 1 + np.flatnonzero(size > 3e4 / mm**3))
    place = np.argwhere(lungs)
    away = np.stack([cKDTree(bronchi[n] / step).query(place)[0] for n in LUNG_LOBES], 1)
    wrong_side = (x_mm[place[:, 2]] > 0)[:, None] != np.array([n.endswith("left") for n in LUNG_LOBES])
    away[wrong_side] = 1e3
    field = np.full((len(LUNG_LOBES), *lungs.shape), 1e3, np.float32)
    field[:, place[:, 0], place[:, 1], place[:, 2]] = away.T
    inside = ndimage.gaussian_filter(lungs.astype(np.float32), 2) + 1e-6
    for lobe in range(len(LUNG_LOBES)):  # smooth fissures: average the distance inside the lung only
        field[lobe] = ndimage.gaussian_filter(np.where(lungs, field[lobe], 0), 2) / inside
    fine = upsample(lungs, frame.labels.shape)
    factor = [n / m for n, m in zip(fine.shape, lungs.shape, strict=True)]
    least, owner = np.full(fine.shape, np.inf, np.float32), np.zeros(fine.shape, np.uint8)
    for lobe in range(len(LUNG_LOBES)):  # one at a time, to spare memory
        distance = ndimage.zoom(field[lobe], factor, order=1)
        owner[distance < least] = lobe
        np.minimum(least, distance, out=least)
    for lobe, name in enumerate(LUNG_LOBES):
        frame.paint(name, fine & (owner == lobe), over=("muscle", "artery", "vein"))


def _arms(frame: Frame, body: Mask) -> Mask:
    """What is nearer to the humerus or forearm than to the trunk's bones, outside the shoulder joint."""
    step = 4
    limb = frame.mask("humerus_left", "humerus_right", "other_bone", step=step)
    x = np.abs(frame.low[2] + np.arange(limb.shape[2]) * step * frame.spacing)
    limb &= (x > 140)[None, None, :]
    trunk = frame.mask(*frame.starting("scapula", "clavicula", "hip_", "femur", "rib_"), step=step)
    closer = ndimage.distance_transform_edt(~limb) < ndimage.distance_transform_edt(~trunk)
    closer &= (x > 142)[None, None, :]
    return np.asarray(upsample(closer, frame.labels.shape) & body)


def _rest(frame: Frame, body: Mask) -> None:
    """Fat under the skin; the tissue around the organs of the abdomen and the chest."""
    _thicken_muscles(frame, body)
    step, mm = 2, 2 * frame.spacing
    wall = frame.mask(
        "muscle", "costal_cartilages", "sternum", "sacrum", "diaphragm",
        *frame.starting("rib_", "hip_", "gluteus", "autochthon", "vertebrae", "iliopsoas", "femur"), step=step,
    )  # fmt: skip
    organs = frame.mask(
        "liver", "spleen", "stomach", "small_bowel", "colon", "duodenum", "pancreas", "kidney_left", "kidney_right",
        "urinary_bladder", "rectum", "aorta", "inferior_vena_cava", step=step,
    )  # fmt: skip
    # The peritoneal cavity has no mesh: a ball that spans the bowel loops finds it.
    cavity = upsample(closed(organs[::2, ::2, ::2], 42 / (2 * mm)), wall.shape) & ~wall
    cavity &= ndimage.distance_transform_edt(body[::step, ::step, ::step]) > 14 / mm
    z = frame.low[0] + np.arange(wall.shape[0]) * mm
    x = frame.low[2] + np.arange(wall.shape[2]) * mm
    chest = closed(frame.mask(*_MEDIASTINUM, "sternum", step=step), 20 / mm)
    chest &= (z[:, None, None] > 1255) & (z[:, None, None] < 1465) & (np.abs(x) < 100)
    frame.paint("mediastinal_tissue", chest, step=step)
    cavity &= (z[:, None, None] > 815) & (z[:, None, None] < 1290)
    frame.paint("abdominal_tissue", cavity, step=step)
    _more_bowel(frame)
    frame.labels[(frame.labels == 0) & body] = frame.names["fat"]
    frame.labels[~body & (frame.labels == frame.names["fat"])] = 0


def _thicken_muscles(frame: Frame, body: Mask) -> None:
    """Give the thin gaps between muscles and bones to the nearest muscle: the meshes are leaner than anyone."""
    step, mm = 2, 2 * frame.spacing
    named = frame.starting("gluteus", "autochthon", "iliopsoas")
    flesh = frame.mask("muscle", *named, step=step)
    bone = frame.mask(
        "sacrum", "costal_cartilages",
        *frame.starting("sternum", "hip_", "femur", "scapula", "humerus", "rib_", "vertebrae"), step=step,
    )  # fmt: skip
    neck = round((1470 - frame.low[0]) / mm)  # where fat planes between the muscles are what one sees
    gap = closed(flesh | bone, 11 / mm)
    gap[neck:] = closed(flesh[neck:], 4.5 / mm)
    gap &= ndimage.distance_transform_edt(body[::step, ::step, ::step]) > 6 / mm
    nearest = ndimage.distance_transform_edt(~flesh, return_distances=False, return_indices=True)
    coarse = frame.labels[::step, ::step, ::step]
    owner = coarse[tuple(nearest)]
    for name in ("muscle", *named):
        frame.paint(name, gap & (owner == frame.names[name]), step=step)


def _more_bowel(frame: Frame) -> None:
    """Small bowel loops where the meshes leave the abdomen empty."""
    rng = np.random.default_rng(7)
    for _ in range(9):
        middle = np.array([rng.uniform(930, 1080), rng.uniform(-175, -120), rng.uniform(-70, 70)])
        turns = np.cumsum(rng.normal(0, [14, 9, 22], (9, 3)), 0)
        path = middle + turns - turns.mean(0)
        frame.tube("small_bowel", [tuple(p) for p in path], float(rng.uniform(10, 14)), over=("abdominal_tissue",))
