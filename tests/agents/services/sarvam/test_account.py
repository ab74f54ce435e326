import pytest

from mediaserver.agents.services import MisconfiguredServiceError, ServiceError
from mediaserver.agents.services.sarvam.account import require_indian_language, sarvam_account
from mediaserver.testing import in_virtual_time
from mediaserver.testing.sarvam import BulbulServer


PATH = "/text-to-speech/ws"


@in_virtual_time
async def test_the_key_is_in_the_header_and_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SARVAM_API_KEY", raising=False)
    async with BulbulServer() as server:
        account = sarvam_account(base_url=server.base_url + "/")
        with pytest.raises(MisconfiguredServiceError, match="set SARVAM_API_KEY"):
            await account.connect(PATH, {})
        monkeypatch.setenv("SARVAM_API_KEY", "key")
        await (await account.connect(PATH, {})).close()
        assert server.sessions[0].headers["api-subscription-key"] == "key"


@in_virtual_time
async def test_a_misspelt_parameter_is_refused() -> None:
    async with BulbulServer() as server:
        account = sarvam_account(base_url=server.base_url, api_key="key")
        with pytest.raises(ServiceError, match="400: unknown parameters: modle"):
            await account.connect(PATH, {"modle": "bulbul:v3"})


@pytest.mark.parametrize("url", ["api.sarvam.ai", "https://api.sarvam.ai", "wss://", "wss://a?b=c"])
def test_an_address_that_is_no_base_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"base_url must look like wss://api\.sarvam\.ai"):
        sarvam_account(base_url=url)


def test_odia_is_spelt_as_the_endpoint_does() -> None:
    assert require_indian_language("od-IN", odia="or-IN") == "or-IN"
    assert require_indian_language("or-IN", odia="od-IN") == "od-IN"
    assert require_indian_language("kok-IN", odia="od-IN") == "kok-IN"


@pytest.mark.parametrize("language", ["hi", "en-US", "", "HI-IN", None])
def test_what_is_no_language_of_sarvams_is_refused(language: str) -> None:
    with pytest.raises(ValueError, match="language must be like 'hi-IN'"):
        require_indian_language(language, odia="od-IN")
