"""Packaging of the OpenClaw Gateway."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "openclaw" / "_version.py").read_text()).group(1)

setup(
    name="openclaw",
    version=VERSION,
    description="The OpenClaw Gateway as a Twisted service: your own AI agents behind one OpenAI-compatible port",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    # twisted/plugins has no __init__.py on purpose: it adds a plugin to Twisted's own package.
    packages=[*find_packages(include=["openclaw", "openclaw.*"]), "twisted.plugins"],
    package_data={
        "openclaw": ["py.typed"],
        "openclaw.store": ["schema/*.sql"],
        "openclaw.ops": ["*.service", "*.socket", "*.conf"],
    },
    zip_safe=False,
    install_requires=[
        # Of these we know the inside (openclaw/twisted_internals.py, openclaw/autobahn_internals.py), which any new
        # line of releases may change: it is tried first, then the bound is raised.
        "twisted[tls]>=26.4,<27",
        "autobahn>=26.10,<27",
        "klein>=24.8,<25",
        "treq>=26.7",
        "attrs>=25.1",
        "cattrs>=26.1",
        "msgspec>=0.20",
        "pyjson5>=2.0",
        "cryptography>=44",
        "click>=8.2",
        "json-five>=1.1",
        "prometheus-client>=0.22",
        "rich>=14",
    ],
    extras_require={
        "docs": ["sphinx>=8", "myst-parser>=4", "furo>=2025"],
        "local": ["xllamacpp>=2026.10"],
        "test": ["coverage>=7.6", "hypothesis>=6.100", "openai>=3", "build>=1.2", "setuptools>=65", "wheel>=0.43"],
        "dev": ["mypy>=2.4", "mypy-zope>=1.0.17", "ruff>=0.17", "pydoctor>=25.10", "tox>=4"],
    },
    entry_points={"console_scripts": ["openclaw = openclaw.cli.main:main"]},
    classifiers=[
        "Framework :: Twisted",
        "License :: OSI Approved :: MIT License",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Typing :: Typed",
    ],
)
