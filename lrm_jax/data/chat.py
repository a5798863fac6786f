# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Chat templates of Hugging Face folders: messages to the text a model was taught.

Templates come with weights from anywhere, so they run in Jinja's sandbox (extra
`hf`), with the helpers that transformers gives them and nothing else.
"""

import datetime
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from lrm_jax.data.hf_tokenizer import HfTokenizer, need_extra, read_json
from lrm_jax.data.jsonl import Message, Prompt, check_prompt
from lrm_jax.data.tokenizer import Tokenizer
from lrm_jax.types import UserError


class ChatTemplate:
    """A compiled template.

    Attributes:
      source: its text.
    """

    def __init__(
        self, source: str, tokens: Mapping[str, str], *, where: str = "chat template"
    ) -> None:
        """Compile a template.

        Args:
          source: Jinja text.
          tokens: special tokens by name (`bos_token`, ...), to be had by the template.
          where: file, for messages.

        Raises:
          UserError: the extra is missing, or the template is no Jinja.
        """
        self.source = source
        self._tokens = dict(tokens)
        self._where = where
        environment = _environment()
        import jinja2

        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateError as error:
            raise UserError(f"{where}: {_one_line(error)}") from error

    def render(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        **settings: Any,
    ) -> str:
        """Return the text of a conversation.

        Args:
          messages: `{"role", "content"}` each.
          add_generation_prompt: end with what opens the assistant's turn.
          **settings: for the template (`enable_thinking`, ...).

        Raises:
          UserError: the template refuses the messages, or fails.
        """
        import jinja2

        values = {
            **self._tokens,
            "messages": list(messages),
            "add_generation_prompt": add_generation_prompt,
            "tools": None,
            "documents": None,
            **settings,
        }
        try:
            return self._template.render(values)
        except Exception as error:  # a template is a program: it may fail in any way
            said = _one_line(error)
            if not isinstance(error, jinja2.TemplateError | TypeError | ValueError):
                said = f"{type(error).__name__}: {said}"
            raise UserError(f"{self._where}: {said}") from error


class PromptEncoder:
    """Prompts to token ids, by the tokenizer's chat template where there is one."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        raw: bool = False,
        system: str = "",
        enable_thinking: bool = True,
    ) -> None:
        """Bind a tokenizer.

        Args:
          tokenizer: one of a Hugging Face folder brings its template.
          raw: use no template.
          system: system message before every text prompt, where there is a template.
          enable_thinking: handed to the template (Qwen3 and its like read it).
        """
        self.tokenizer = tokenizer
        self.raw = raw
        self.template = None if raw else template_of(tokenizer)
        self._system = system
        self._settings = {} if enable_thinking else {"enable_thinking": False}
        if system and self.template is None:
            raise UserError(
                "data.system needs a chat template; this tokenizer has none, or "
                "data.raw is on"
            )

    def text(self, prompt: Prompt) -> str:
        """Return the text that is encoded.

        Raises:
          UserError: the prompt is empty, or is messages and there is no template.
        """
        check_prompt(prompt, "prompt")
        if self.template is not None:
            return self.template.render(self._messages(prompt), **self._settings)
        if isinstance(prompt, str):
            return prompt
        if not self.raw:
            raise UserError(
                "the prompt is a list of messages and the tokenizer has no chat "
                "template; give text, or set data.raw=true to join their contents"
            )
        return "\n".join(message["content"] for message in prompt)

    def _messages(self, prompt: Prompt) -> Sequence[Message]:
        if not isinstance(prompt, str):
            return prompt
        user = {"role": "user", "content": prompt}
        if not self._system:
            return [user]
        return [{"role": "system", "content": self._system}, user]

    def __call__(self, prompt: Prompt) -> list[int]:
        """Return the ids of a prompt; a template writes its own begin tokens."""
        ids = self.tokenizer.encode(self.text(prompt))
        if self.template is not None:
            return ids
        return [*self.tokenizer.bos_ids, *ids]


def template_of(tokenizer: Tokenizer) -> ChatTemplate | None:
    """Return the template of a tokenizer's folder; None where it has none."""
    if not isinstance(tokenizer, HfTokenizer):
        return None
    found = find_template(tokenizer.folder)
    if found is None:
        return None
    source, where = found
    return ChatTemplate(source, tokenizer.special_tokens, where=where)


def find_template(folder: str | Path) -> tuple[str, str] | None:
    """Return (text, file) of a folder's default template; None where it has none.

    `chat_template.jinja` comes before `chat_template.json` and before
    `chat_template` in `tokenizer_config.json`, as in transformers.
    """
    folder = Path(folder)
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8"), str(file)
    for name in ("chat_template.json", "tokenizer_config.json"):
        value = read_json(folder / name).get("chat_template")
        if isinstance(value, list):  # several, by name
            named = {one.get("name"): one.get("template") for one in value}
            if "default" not in named:
                raise UserError(
                    f"{folder / name}: chat_template: none is named 'default'; "
                    f"there are: {', '.join(map(repr, named))}"
                )
            value = named["default"]
        if isinstance(value, str):
            return value, str(folder / name)
    return None


@functools.cache
def _environment() -> Any:
    """Jinja as transformers sets it up; templates can change nothing outside."""
    try:
        from jinja2 import ext, sandbox
    except ImportError as error:
        raise need_extra("jinja2", error) from error

    class Generation(ext.Extension):
        """`{% generation %}` marks the assistant's words; rendering ignores it."""

        tags = {"generation"}

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    environment = sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[Generation, "jinja2.ext.loopcontrols"],
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja's own escapes HTML, which no model was taught."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise_exception(message: str) -> NoReturn:
    import jinja2

    raise jinja2.TemplateError(message)


def _strftime_now(how: str) -> str:
    return datetime.datetime.now().strftime(how)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
