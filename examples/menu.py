"""A menu worked by keys. eSpeak NG speaks its prompts, so it needs no recordings.

    pip install ".[offline]"
    mediaserver serve examples.menu:MENU
    mediaserver call ws://127.0.0.1:8000/stream --press 2@4 --silence 8 --record out.wav

Recordings sound better: a prompt may be the path of a WAV or FLAC file.
"""

from mediaserver import Stream
from mediaserver.agents import Menu
from mediaserver.agents.menu import Transfer
from mediaserver.agents.prompts import spoken
from mediaserver.agents.services.espeak import EspeakSpeech


VOICE = EspeakSpeech("en-us+f3")
ORDERS = {"1001": "is on its way", "1002": "will be ready tomorrow"}  # stands for a database


async def order_status(stream: Stream, keys: str) -> None:
    """Say the status of an order."""
    answer = f"Order {' '.join(keys)} {ORDERS.get(keys, 'is not known here')}."
    said = await stream.say(spoken(answer, stream.format, VOICE))
    await said.heard()  # a handler that returns ends the stream, heard or not


ORDER = Menu(
    prompt="Key in your order number, or press star to go back.",
    choices={"*": "back"},
    otherwise=order_status,
    longest=4,
    text_to_speech=VOICE,
)

HOURS = Menu(
    prompt="We are open from nine to five. Press nine to hear it again, star to go back.",
    choices={"9": "again", "*": "back"},
    goodbye="Goodbye.",
    text_to_speech=VOICE,
)

MENU = Menu(
    prompt="For an order press one, for opening hours two, for a person zero.",
    choices={"1": ORDER, "2": HOURS, "0": Transfer("https://shop.example.com/person.xml")},
    invalid="There is nothing behind that key.",
    unanswered="Please choose.",
    goodbye="Goodbye.",
    text_to_speech=VOICE,
)
