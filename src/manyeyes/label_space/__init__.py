"""Label-space embedding ("All Together Now!", eqs. 7–8): what a backbone takes a photo for, as a place among words."""
