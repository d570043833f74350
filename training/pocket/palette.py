"""The colours, shapes and words of the data world."""

SHAPES = {
    "circle": ("circle", "circle", "disc", "ball"),
    "square": ("square", "square", "box"),
    "triangle": ("triangle",),
    "star": ("star",),
    "ring": ("ring", "ring", "hoop"),
}

COLORS = {
    "red": (222, 38, 38),
    "orange": (250, 140, 20),
    "yellow": (250, 228, 50),
    "green": (40, 180, 70),
    "blue": (45, 95, 235),
    "purple": (150, 60, 200),
    "pink": (250, 130, 190),
    "white": (245, 245, 245),
}

BACKGROUNDS = {
    "black": (12, 12, 12),
    "gray": (112, 112, 112),
    "navy": (20, 28, 84),
    "brown": (92, 62, 40),
    "teal": (14, 78, 78),
}

# Radius in pixels of a 64 pixel frame.
SIZES = {"small": 8.0, "medium": 11.0, "large": 14.5}
SIZE_WORDS = {"small": ("small", "little", "tiny"), "medium": ("",), "large": ("big", "large")}

# Pixels per second.
SPEEDS = {"slow": 10.0, "normal": 17.0, "fast": 27.0}
SPEED_WORDS = {"slow": ("slowly",), "normal": ("",), "fast": ("quickly", "fast")}

DIRECTIONS = {
    "right": (1, 0),
    "left": (-1, 0),
    "down": (0, 1),
    "up": (0, -1),
    "up-right": (1, -1),
    "up-left": (-1, -1),
    "down-right": (1, 1),
    "down-left": (-1, 1),
}

OTHER_MOTIONS = ("bounce", "orbit", "spin", "grow", "shrink", "appear", "still")
