"""Ready-made handlers and voice agents: to run, to read, to subclass."""

from mediaserver.agents.agent import Agent
from mediaserver.agents.conversation import Conversation
from mediaserver.agents.echo import Echo
from mediaserver.agents.listening import BargeIn, Listener, Utterance
from mediaserver.agents.menu import Menu, Transfer
from mediaserver.agents.parrot import Parrot
from mediaserver.agents.player import Player
from mediaserver.agents.prompts import spoken
from mediaserver.agents.realtime_agent import RealtimeAgent
from mediaserver.agents.recorder import Recorder, recorded
from mediaserver.agents.recording import Recording
from mediaserver.agents.tools import tool
from mediaserver.agents.transcriber import Transcriber
from mediaserver.agents.turns import TurnSettings
from mediaserver.agents.voice_agent import VoiceAgent


__all__ = [
    "Agent",
    "BargeIn",
    "Conversation",
    "Echo",
    "Listener",
    "Menu",
    "Parrot",
    "Player",
    "RealtimeAgent",
    "Recorder",
    "Recording",
    "Transcriber",
    "Transfer",
    "TurnSettings",
    "Utterance",
    "VoiceAgent",
    "recorded",
    "spoken",
    "tool",
]
