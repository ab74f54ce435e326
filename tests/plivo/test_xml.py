import contextlib
from collections.abc import Callable
from dataclasses import fields
from typing import Any
from xml.etree.ElementTree import canonicalize

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from plivo import plivoxml as sdk
from plivo.xml import GetDigitsElement, HangupElement, StreamElement, WaitElement

from mediaserver.plivo.xml import (
    MAX_DOCUMENT,
    SSML_TAGS,
    Dial,
    GetDigits,
    Hangup,
    Number,
    Play,
    Record,
    Redirect,
    Response,
    Speak,
    Ssml,
    Stream,
    User,
    Wait,
    XmlError,
    parse_response,
)


URL = "wss://voice.example.com/stream?a=1&b=2"
WEB = "https://voice.example.com/more?a=1&b=2"


# What can be written, by hypothesis

texts = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]), min_size=1, max_size=20
).filter(lambda text: text.strip() == text and "cont>" not in text)
webs = st.builds(
    lambda scheme, rest: f"{scheme}://voice.example.com/{rest}",
    st.sampled_from(["http", "https"]),
    st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), max_size=20),
)
methods = st.sampled_from(["GET", "POST"])
flags = st.booleans()
pairs = st.from_regex(r"[a-z0-9]{1,4}=[A-Z0-9]{1,4}", fullmatch=True)
counts = st.integers(1, 10_000)

ATTRIBUTES: dict[Any, dict[str, Any]] = {
    Speak: {"voice": texts, "language": texts, "loop": st.integers(0, 99)},
    Play: {"loop": st.integers(0, 99)},
    Wait: {"length": counts, "silence": flags, "min_silence": counts, "beep": flags},
    Redirect: {"method": methods},
    Hangup: {"reason": st.sampled_from(["rejected", "busy"]), "schedule": counts},
    Number: {"send_digits": texts, "send_on_preanswer": flags, "send_digits_mode": texts},
    User: {"send_digits": texts, "send_on_preanswer": flags, "sip_headers": pairs},
    Dial: {
        "action": webs,
        "method": methods,
        "hangup_on_star": flags,
        "time_limit": counts,
        "timeout": counts,
        "caller_id": texts,
        "caller_name": texts,
        "confirm_sound": webs,
        "confirm_timeout": counts,
        "confirm_key": texts,
        "dial_music": texts,
        "callback_url": webs,
        "callback_method": methods,
        "redirect": flags,
        "digits_match": texts,
        "digits_match_b_leg": texts,
        "sip_headers": pairs,
    },
    Record: {
        "action": webs,
        "method": methods,
        "file_format": st.sampled_from(["mp3", "wav"]),
        "redirect": flags,
        "timeout": counts,
        "max_length": counts,
        "play_beep": flags,
        "finish_on_key": texts,
        "record_session": flags,
        "start_on_dial_answer": flags,
        "transcription_type": texts,
        "transcription_url": webs,
        "transcription_method": methods,
        "transcription_report_type": texts,
        "callback_url": webs,
        "callback_method": methods,
        "record_channel_type": texts,
    },
    GetDigits: {
        "action": webs,
        "method": methods,
        "timeout": counts,
        "digit_timeout": counts,
        "finish_on_key": texts,
        "num_digits": counts,
        "retries": counts,
        "redirect": flags,
        "play_beep": flags,
        "valid_digits": texts,
        "invalid_digits_sound": webs,
        "log": flags,
    },
    Stream: {
        "bidirectional": flags,
        "audio_track": st.sampled_from(["inbound", "outbound", "both"]),
        "stream_timeout": st.integers(1, 86_400),
        "status_callback_url": webs,
        "status_callback_method": methods,
        "content_type": st.sampled_from(
            [
                "audio/x-l16;rate=8000",
                "audio/x-l16;rate=16000",
                "audio/x-l16;rate=24000",
                "audio/x-mulaw;rate=8000",
            ]
        ),
        "extra_headers": pairs,
        "keep_call_alive": flags,
    },
}
NOISE = {"noise_cancellation": st.just(True), "noise_cancellation_level": st.integers(60, 100)}


def wrong(value: Any) -> Any:
    """Pass a value of a type that the argument does not take."""
    return value


def attributes(kind: Any, **more: Any) -> Any:
    return st.fixed_dictionaries({}, optional={**ATTRIBUTES[kind], **more})


def element(kind: Any, content: Any = None, **more: Any) -> Any:
    """Ours, and what it is made of."""
    given = [attributes(kind, **more)] if content is None else [attributes(kind, **more), content]
    return st.tuples(st.just(kind), *given)


def build(made: Any) -> Any:
    kind, values, *content = made
    if content and isinstance(content[0], list):
        content = [tuple(build(each) for each in content[0])]
    return kind(*content, **values)


CAMEL = {
    "audio_track": "audioTrack",
    "stream_timeout": "streamTimeout",
    "status_callback_url": "statusCallbackUrl",
    "status_callback_method": "statusCallbackMethod",
    "content_type": "contentType",
    "extra_headers": "extraHeaders",
    "keep_call_alive": "keepCallAlive",
}


def build_sdk(made: Any) -> GetDigitsElement | HangupElement | StreamElement | WaitElement:
    kind, values, *content = made
    make = getattr(sdk, f"{kind.__name__}Element")
    if kind is Stream:
        values = {CAMEL.get(name, name): value for name, value in values.items()}
    if content and isinstance(content[0], list):
        element = make(**values)
        for each in content[0]:
            element.add(build_sdk(each))
        return element
    return make(*content, **values)


def fits(
    made: tuple[type[Stream], dict[Any, Any], str] | tuple[type[Stream], dict[str, str], str],
) -> bool:
    return not (
        made[0] is Stream
        and made[1].get("bidirectional")
        and made[1].get("audio_track") in ("outbound", "both")
    ) and ("noise_cancellation_level" not in made[1] or "noise_cancellation" in made[1])


streams = st.just(URL)
prompts = st.one_of(element(Speak, texts), element(Play, webs), element(Wait))
shared = st.one_of(
    element(Stream, streams).filter(fits),
    element(Speak, texts),
    element(Play, webs),
    element(Wait),
    element(Redirect, webs),
    element(Hangup),
    element(Record),
    element(GetDigits, st.lists(prompts, max_size=3)),
    element(
        Dial,
        st.lists(st.one_of(element(Number, texts), element(User, texts)), min_size=1, max_size=3),
    ),
)
everything = st.one_of(shared, element(Stream, streams, **NOISE).filter(fits))


@given(st.lists(shared, max_size=4))
def test_documents_are_those_of_the_sdk(
    made: list[
        tuple[type[GetDigits], dict[str, int | str], list[Any]]
        | tuple[type[Stream], dict[str, str], str]
        | tuple[type[Wait], dict[str, bool]]
        | tuple[type[Wait], dict[str, int]]
    ]
    | list[tuple[type[Hangup], dict[str, int | str]] | tuple[type[Wait], dict[str, int]]],
) -> None:
    ours = Response(*map(build, made)).to_xml()
    theirs = sdk.ResponseElement()
    for each in made:
        theirs.add(build_sdk(each))
    assert canonicalize(ours) == canonicalize(theirs.to_string(pretty=False))


@pytest.mark.parametrize("kind", list(ATTRIBUTES))
def test_every_attribute_is_compared(kind: Any) -> None:
    own = {each.name for each in fields(kind) if each.metadata}
    assert own == {*ATTRIBUTES[kind], *(NOISE if kind is Stream else ())}


@given(st.lists(everything, max_size=4))
def test_what_is_written_can_be_read(
    made: list[tuple[type[Dial], dict[str, str], list[Any]]]
    | list[tuple[type[Record], dict[str, int | str]]],
) -> None:
    response = Response(*map(build, made))
    again = parse_response(response.to_xml())
    assert again == response
    assert again.warnings == ()


def test_speech_with_tags_is_that_of_the_sdk() -> None:
    theirs = sdk.SpeakElement("Now ", voice="Polly.Joanna")
    theirs.add(sdk.BreakElement(None, time="1s"))
    theirs.add(sdk.EmphasisElement("listen & learn", level="strong"))
    theirs.add(sdk.SayAsElement("123", interpret_as="digits"))
    ours = Speak(
        (
            "Now ",
            Ssml("break", {"time": "1s"}),
            Ssml("emphasis", {"level": "strong"}, "listen & learn"),
            Ssml("say-as", {"interpret-as": "digits"}, "123"),
        ),
        voice="Polly.Joanna",
    )
    document = Response(ours).to_xml()
    assert canonicalize(document) == canonicalize(
        sdk.ResponseElement().add(theirs).to_string(pretty=False)
    )
    assert parse_response(document) == Response(ours)
    assert ours.text == "Now listen & learn123"


def test_all_attributes_of_a_stream_are_written() -> None:
    stream = Stream(
        URL,
        bidirectional=False,
        audio_track="both",
        stream_timeout=60,
        status_callback_url=WEB,
        status_callback_method="GET",
        content_type="audio/x-l16;rate=24000",
        extra_headers="a=1,b=2",
        keep_call_alive=True,
        noise_cancellation=True,
        noise_cancellation_level=70,
    )
    assert Response(stream).to_xml().decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<Response><Stream bidirectional="false" audioTrack="both" streamTimeout="60"'
        ' statusCallbackUrl="https://voice.example.com/more?a=1&amp;b=2"'
        ' statusCallbackMethod="GET" contentType="audio/x-l16;rate=24000" extraHeaders="a=1,b=2"'
        ' keepCallAlive="true" noiseCancellation="true" noiseCancellationLevel="70">'
        "wss://voice.example.com/stream?a=1&amp;b=2</Stream></Response>"
    )


# What cannot be made


@pytest.mark.parametrize(
    ("make", "reason", "said"),
    [
        (
            lambda: Stream("https://h/x"),
            "bad_text",
            "begins with wss:// or ws://, not 'https://h/x'",
        ),
        (lambda: Stream("wss://"), "bad_text", "begins with wss://"),
        (lambda: Stream("wss://[h/x"), "bad_text", "is not a URL"),
        (lambda: Stream("wss://h/a b"), "bad_text", "contains a space"),
        (lambda: Stream("wss://h/" + "a" * 2048), "bad_text", "2048 characters; this URL has 2056"),
        (
            lambda: Stream(URL, bidirectional=wrong("yes")),
            "bad_attribute",
            "true or false, not 'yes'",
        ),
        (
            lambda: Stream(URL, audio_track=wrong("left")),
            "bad_attribute",
            "inbound or outbound or both",
        ),
        (lambda: Stream(URL, stream_timeout=0), "bad_attribute", "1 to 86400, not 0"),
        (lambda: Stream(URL, stream_timeout=86_401), "bad_attribute", "1 to 86400, not 86401"),
        (lambda: Stream(URL, stream_timeout=True), "bad_attribute", "whole number, not True"),
        (
            lambda: Stream(URL, content_type="audio/x-mulaw"),
            "bad_attribute",
            "audio/x-l16;rate=8000",
        ),
        (lambda: Stream(URL, extra_headers="a=" + "b" * 511), "bad_attribute", "512 bytes, not"),
        (lambda: Stream(URL, status_callback_url="/cb"), "bad_attribute", "statusCallbackUrl"),
        (
            lambda: Stream(URL, bidirectional=True, audio_track="both"),
            "bad_attribute",
            'cannot be "both" with bidirectional',
        ),
        (
            lambda: Stream(URL, noise_cancellation=True, noise_cancellation_level=59),
            "bad_attribute",
            "60 to 100, not 59",
        ),
        (lambda: Speak(""), "bad_text", "<Speak> is empty"),
        (lambda: Speak(" \n"), "bad_text", "<Speak> is empty"),
        (lambda: Speak("a\x00b"), "bad_text", "characters that XML cannot represent"),
        (lambda: Speak("a", voice="\x1b"), "bad_attribute", "characters that XML cannot represent"),
        (
            lambda: Speak(wrong(("a", Hangup()))),
            "misplaced_element",
            "<Hangup> cannot stand in <Speak>",
        ),
        (
            lambda: Ssml("blink"),
            "unknown_element",
            "<blink> is not a tag of <Speak>; its tags are break",
        ),
        (lambda: Ssml("break", {"a b": "1"}), "bad_attribute", "'a b' of <break>"),
        (lambda: Play("file:///etc/passwd"), "bad_text", "begins with http:// or https://"),
        (lambda: Play(WEB, loop=-1), "bad_attribute", "at least 0, not -1"),
        (lambda: Wait(length=0), "bad_attribute", "at least 1, not 0"),
        (lambda: Hangup(reason=wrong("bored")), "bad_attribute", "rejected or busy, not 'bored'"),
        (lambda: Number(""), "bad_text", "<Number> is empty"),
        (lambda: Number(wrong(1415)), "bad_text", "text of <Number> must be text, not 1415"),
        (lambda: Dial(wrong(("1415",))), "bad_text", "<Dial> takes no text, but '1415' was given"),
        (lambda: Dial(()), "bad_text", "needs a <Number> or a <User>"),
        (lambda: Dial(wrong((Speak("a"),))), "misplaced_element", "<Speak> cannot stand in <Dial>"),
        (
            lambda: GetDigits(wrong((Hangup(),))),
            "misplaced_element",
            "<Hangup> cannot stand in <GetDigits>",
        ),
        (
            lambda: Response(wrong(Number("1"))),
            "misplaced_element",
            "<Number> cannot stand in <Response>",
        ),
        (lambda: Response(Speak("a" * MAX_DOCUMENT)).to_xml(), "too_large", "102400 (100 KB)"),
    ],
)
def test_what_plivo_would_refuse_cannot_be_made(
    make: Callable[..., Any], reason: str, said: str
) -> None:
    with pytest.raises(XmlError) as raised:
        make()
    assert raised.value.reason == reason
    assert said in str(raised.value)
    assert raised.value.line is None


# Reading


def read(inside: str) -> Response:
    return parse_response(f"<Response>{inside}</Response>")


def test_whitespace_around_urls_and_texts_is_dropped() -> None:
    response = parse_response(
        """<?xml version="1.0" encoding="UTF-8"?>
        <Response>
            <Speak>
                Hello <break time="1s"/> you
            </Speak>
            <Speak><p>one</p><p>two</p></Speak>
            <Stream bidirectional=" TRUE " keepCallAlive="true" statusCallbackUrl=" http://h/s ">
                wss://yourserver.com/websocket
            </Stream>
            <!-- a comment --><Redirect method="post"><![CDATA[ http://h/?a=1&b=2 ]]></Redirect>
        </Response>
        """
    )
    assert response == Response(
        Speak(("Hello ", Ssml("break", {"time": "1s"}), " you")),
        Speak((Ssml("p", {}, "one"), Ssml("p", {}, "two"))),
        Stream(
            "wss://yourserver.com/websocket",
            bidirectional=True,
            keep_call_alive=True,
            status_callback_url="http://h/s",
        ),
        Redirect("http://h/?a=1&b=2", method="POST"),
    )


@pytest.mark.parametrize(
    "document", ["<Response/>", b"<Response></Response>", "<Response> \n</Response>"]
)
def test_a_document_may_say_nothing(document: bytes | str) -> None:
    assert parse_response(document) == Response()


def test_a_noise_level_without_noise_cancellation_is_told_and_not_written() -> None:
    response = read('<Stream noiseCancellationLevel="70">wss://h</Stream>')
    assert response.warnings == (
        "<Stream>: noiseCancellationLevel is ignored, because noiseCancellation is not true",
    )
    assert b"Level" not in response.to_xml()


def test_an_empty_attribute_is_one_that_is_left_out() -> None:
    assert read('<Wait length=""/><GetDigits finishOnKey=""/>') == Response(
        Wait(), GetDigits(finish_on_key="")
    )


def test_unknown_attributes_are_passed_over_and_told() -> None:
    response = read('<Wait length="2"/>\n<Hangup resaon="busy"/>')
    assert response == Response(Wait(length=2), Hangup())
    assert response.warnings == ("line 2: <Hangup> has no attribute 'resaon'",)


@pytest.mark.parametrize(
    ("document", "reason", "line", "said"),
    [
        ("", "not_xml", 1, "no element found"),
        ("hello", "not_xml", 1, "not XML"),
        (
            "<Response>\n<Stream>wss://h/?a=1&b=2</Stream></Response>",
            "not_xml",
            2,
            "not well-formed",
        ),
        ("<Response>&nbsp;</Response>", "not_xml", 1, "undefined entity"),
        (b'<?xml version="1.0" encoding="klingon"?><Response/>', "not_xml", 1, "unknown encoding"),
        (b"<Response>\xff</Response>", "not_xml", 1, "not XML"),
        ("<Response/>\n<Response/>", "not_xml", 2, "junk after document element"),
        ("<html></html>", "not_response", 1, "the root is <html>; it must be <Response>"),
        ("<response/>", "not_response", 1, "the root is <response>"),
        (
            "<Response>\n<Sing/></Response>",
            "unknown_element",
            2,
            "<Sing> is not an element of Plivo's",
        ),
        ("<Response><GetInput/></Response>", "unsupported_element", 1, "not supported here"),
        (
            "<Response><Number>1</Number></Response>",
            "misplaced_element",
            1,
            "cannot stand in <Response>",
        ),
        (
            "<Response><Hangup><Wait/></Hangup></Response>",
            "misplaced_element",
            1,
            "may contain nothing",
        ),
        ("<Response><Speak>a<Play/></Speak></Response>", "misplaced_element", 1, "in <Speak>"),
        ("<Response>hello</Response>", "bad_text", 1, "<Response> takes no text, but 'hello'"),
        ("<Response><Wait>2</Wait></Response>", "bad_text", 1, "<Wait> takes no text"),
        ("<Response>\n\n<Stream>\n</Stream></Response>", "bad_text", 3, "begins with wss://"),
        ("<Response><Speak>  </Speak></Response>", "bad_text", 1, "<Speak> is empty"),
        ("<Response><Dial></Dial></Response>", "bad_text", 1, "needs a <Number>"),
        (
            '<Response><Wait length="2s"/></Response>',
            "bad_attribute",
            1,
            "length of <Wait> must be",
        ),
        ('<Response><Wait beep="yes"/></Response>', "bad_attribute", 1, "true or false, not"),
        (
            '<Response>\n<Stream bidirectional="true" audioTrack="both">wss://h</Stream></Response>',
            "bad_attribute",
            2,
            "audioTrack",
        ),
        ("<Response>" + "<Speak><p>" + "<s>" * 20, "misplaced_element", 1, "nested too deeply"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(
    document: str, reason: str, line: int, said: str
) -> None:
    with pytest.raises(XmlError) as raised:
        parse_response(document)
    assert (raised.value.reason, raised.value.line) == (reason, line)
    assert said in str(raised.value)
    assert str(raised.value).startswith(f"line {line}: ")


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


@pytest.mark.parametrize(
    "document",
    [
        f'<!DOCTYPE r [<!ENTITY l0 "ha">{LAUGHS}]><Response><Speak>&l9;</Speak></Response>',
        '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><Response><Speak>&x;</Speak></Response>',
        '<!DOCTYPE r [<!ENTITY % x SYSTEM "http://127.0.0.1:9/x.dtd"> %x;]><Response/>',
        '<!DOCTYPE r SYSTEM "http://127.0.0.1:9/x.dtd"><Response/>',
        "<!DOCTYPE Response><Response/>",
    ],
)
def test_document_types_and_entities_are_refused(document: str) -> None:
    with pytest.raises(XmlError, match="must not declare a document type or entity") as raised:
        parse_response(document)
    assert raised.value.reason == "forbidden"


def test_a_document_of_more_than_100_kb_is_refused() -> None:
    start, end = b"<Response><!--", b"--></Response>"
    filling = b"a" * (MAX_DOCUMENT - len(start + end))
    assert parse_response(start + filling + end) == Response()
    with pytest.raises(XmlError, match="102401 bytes; Plivo accepts 102400") as raised:
        parse_response(start + filling + b"a" + end)
    assert raised.value.reason == "too_large"


@given(
    st.one_of(
        st.binary(max_size=60),
        st.text(max_size=60),
        st.text("<>/&;! RespnoKStram='\"", max_size=60),
    )
)
def test_anything_is_read_or_refused(document: bytes | str) -> None:
    with contextlib.suppress(XmlError):
        parse_response(document)


@given(st.lists(everything, min_size=1, max_size=3), st.data())
def test_a_damaged_document_is_read_or_refused(
    made: list[tuple[type[GetDigits], dict[str, int | str], list[Any]]]
    | list[tuple[type[Hangup], dict[Any, Any]] | tuple[type[Wait], dict[str, int]]]
    | list[tuple[type[Stream], dict[Any, Any], str]],
    data: st.DataObject,
) -> None:
    document = bytearray(Response(*map(build, made)).to_xml())
    for _ in range(data.draw(st.integers(1, 3))):
        document[data.draw(st.integers(0, len(document) - 1))] = data.draw(st.integers(0, 255))
    try:
        response = parse_response(bytes(document))
    except XmlError:
        return
    assert parse_response(response.to_xml()) == response


@given(st.sampled_from(SSML_TAGS), texts, texts)
def test_tags_in_speech_can_be_read(tag: str, before: str, inside: str) -> None:
    assume("\r" not in before + inside)
    speak = Speak((before, Ssml(tag, {"level": inside}, inside)))
    assert parse_response(Response(speak).to_xml()) == Response(speak)
