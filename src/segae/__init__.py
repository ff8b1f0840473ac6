"""Predict the quality of CT segmentation masks without ground truth."""
