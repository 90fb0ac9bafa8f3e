"""The demo's main job: two small nets trained on digit images through the hal."""
