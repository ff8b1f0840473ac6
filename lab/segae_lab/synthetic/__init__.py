"""Synthetic CT scans with their labelmaps, drawn from an anatomical atlas of triangle meshes."""
