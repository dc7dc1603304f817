"""Croissant metadata of the demonstrations (mlcommons.org/croissant/1.0), made from their cards."""

import hashlib
import json
from typing import Any

import yaml

from docs.measured import ROOT

DATA = ROOT / "data"
CROISSANT = DATA / "croissant.json"
PER_TRAJECTORY = {  # of a card: type, and what it is
    "returns": ("sc:Float", "sum of the task's rewards, undiscounted"),
    "lengths": ("sc:Integer", "steps"),
    "terminated": ("sc:Boolean", "whether the task ended it; a time limit is no end"),
}
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def text() -> str:
    """Return data/croissant.json."""
    return json.dumps(describe(), indent=2) + "\n"


def describe() -> dict[str, Any]:
    """Return the metadata of all demonstrations in data/demonstrations."""
    cards = {path.parent.name: json.loads(path.read_text()) for path in sorted(DATA.glob("demonstrations/*/card.json"))}
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    (creator,) = (author["name"] for author in cited["authors"])
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": "threefold-demonstrations",
        "description": (
            f"Demonstrations for imitation learning on {len(cards)} tasks, most of them Gymnasium's MuJoCo tasks: "
            "whole trajectories of stochastic experts that were trained with PPO on the task's reward. Observations "
            "and unclipped actions, without rewards; the cards hold every trajectory's return."
        ),
        "license": "https://creativecommons.org/licenses/by/4.0/",
        "citeAs": f"{creator} ({cited['date-released'].year}). {cited['title']}. Version {cited['version']}.",
        "creator": {"@type": "sc:Organization", "name": creator},
        "datePublished": cited["date-released"].isoformat(),
        "version": cited["version"],
        "keywords": ["imitation learning", "inverse reinforcement learning", "MuJoCo", "demonstrations"],
        "distribution": [one for task in cards for one in _files(task)],
        "recordSet": [_trajectories(task, card) for task, card in cards.items()],
    }


def _files(task: str) -> list[dict[str, Any]]:
    kinds = {
        "card.json": ("application/json", f"What the demonstrations of {task} are and were made with."),
        "trajectories.safetensors": (
            "application/octet-stream",
            f"Demonstrations of {task} as safetensors: obs [sum(T_k) + K, O], action [sum(T_k), A], lengths [K], "
            "terminated [K], starts [K] (the step of the first pair that subsampling uses).",
        ),
    }
    return [
        {
            "@type": "cr:FileObject",
            "@id": f"{task}/{name}",
            "name": f"{task}/{name}",
            "description": said,
            "contentUrl": f"demonstrations/{task}/{name}",
            "contentSize": f"{path.stat().st_size} B",
            "encodingFormat": kind,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for name, (kind, said) in kinds.items()
        for path in [DATA / "demonstrations" / task / name]
    ]


def _trajectories(task: str, card: dict[str, Any]) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": f"{task}-trajectories",
        "name": f"{task}-trajectories",
        "description": f"The {card['trajectories']} trajectories of {task}, in the order of the file.",
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{task}-trajectories/{name}",
                "name": name,
                "description": said,
                "dataType": kind,
                "source": {
                    "fileObject": {"@id": f"{task}/card.json"},
                    "extract": {"jsonPath": f"$.{name}[*]"},
                },
            }
            for name, (kind, said) in PER_TRAJECTORY.items()
            if name in card
        ],
    }
