"""How the built-in reference network was made: partly labelled scans, a 2.5D U-Net, its export and its reliability."""
