"""The generated dataset `scenes`: objects of known shape, colour and place, alone or in scenes."""

from superinfo.datasets.scenes.composition import Instance, Scene, draw_scene
from superinfo.datasets.scenes.paint import TEXTURES
from superinfo.datasets.scenes.shapes import SHAPES
from superinfo.datasets.scenes.world import VERSION, ObjectFactors, World, draw_object
from superinfo.datasets.scenes.write import write_objects, write_scenes

__all__ = [
    "SHAPES",
    "TEXTURES",
    "VERSION",
    "Instance",
    "ObjectFactors",
    "Scene",
    "World",
    "draw_object",
    "draw_scene",
    "write_objects",
    "write_scenes",
]
