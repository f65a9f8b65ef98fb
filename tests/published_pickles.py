"""Pickles with which scanners of pickles were deceived, each by the advisory that published it.

`CALLS` are functions that an advisory found missing on a list of forbidden ones; `calls` writes
each in every way a pickle can call. `tricks` are streams that a scanner read otherwise than Python
does: they make the folder `canary` when Python loads them. `wrapped` are files that carry a pickle
inside another format. GHSA numbers without a name in front are of picklescan.
"""

from __future__ import annotations

import copyreg
import io
import marshal
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.hostile_pickles import long_text, short_text

CALLS = """
    GHSA-3gf5-cxq9-w223           idlelib.pyshell ModifiedInterpreter.runcode
    GHSA-3vg9-h568-4w9m           idlelib.debugobj ObjectTreeItem.SetText
    GHSA-4675-36f9-wf6r           ctypes CDLL
    GHSA-vqmv-47xg-9wpr           pty spawn
    GHSA-49gj-c84q-6qm9           cProfile run
    GHSA-4r9r-ch6f-vxmx           torch.utils.bottleneck.__main__ run_cprofile
    GHSA-4whj-rm5r-c2v8           torch.utils.bottleneck.__main__ run_autograd_prof
    GHSA-5qwp-399c-mjwf           trace Trace.run
    GHSA-6vqj-c2q5-j97w           profile Profile.runctx
    GHSA-6w4w-5w54-rjvr           idlelib.autocomplete AutoComplete.get_entity
    GHSA-7cq8-mj8x-j263           idlelib.autocomplete AutoComplete.fetch_completions
    GHSA-7wx9-6375-f5wh           profile run
    GHSA-84r2-jw7c-4r5q           pydoc locate
    GHSA-86cj-95qr-2p4f           torch._dynamo.guards GuardBuilder.get
    GHSA-8r4j-24qv-fmq9           idlelib.calltip Calltip.fetch_tip
    GHSA-955r-x9j8-7rhh           _operator attrgetter
    GHSA-955r-x9j8-7rhh           _operator itemgetter
    GHSA-955r-x9j8-7rhh           _operator methodcaller
    GHSA-9w88-8rmg-7g2p           cProfile runctx
    GHSA-9xph-j2h6-g47v           idlelib.calltip get_entity
    GHSA-cj3c-v495-4xqh           code InteractiveInterpreter.runcode
    GHSA-f4x7-rfwp-v3xw           torch.fx.experimental.symbolic_shapes ShapeEnv.evaluate_guards_expression
    GHSA-f54q-57x4-jg88           lib2to3.pgen2.grammar Grammar.loads
    GHSA-f745-w6jp-hpxx           torch.utils.collect_env run
    GHSA-fqq6-7vqf-w3fg           doctest debug_script
    GHSA-g344-hcph-8vgg           trace Trace.runctx
    GHSA-g38g-8gr9-h9xp           uuid _get_command_stdout
    GHSA-g38g-8gr9-h9xp           _osx_support _read_output
    GHSA-g38g-8gr9-h9xp           _aix_support _read_cmd_output
    GHSA-g38g-8gr9-h9xp           _pyrepl.pager pipe_pager
    GHSA-g38g-8gr9-h9xp           imaplib IMAP4_stream
    GHSA-g38g-8gr9-h9xp           test.support.script_helper assert_python_ok
    GHSA-h3qp-7fh3-f8h4           torch.utils.data.datapipes.utils.decoder basichandlers
    GHSA-hgrh-qx5j-jfwx           ssl get_server_certificate
    GHSA-j343-8v2j-ff7w           idlelib.pyshell ModifiedInterpreter.runcommand
    GHSA-jhph-76pp-mggw           torch.utils.collect_env run_and_read_all
    GHSA-m273-6v24-x4m4           distutils.file_util write_file
    GHSA-m869-42cg-3xwr           idlelib.run Executive.runcode
    GHSA-p9w7-82w4-7q8m           lib2to3.pgen2.pgen ParserGenerator.make_label
    GHSA-q77w-mwjj-7mqx           asyncio.unix_events _UnixSubprocessTransport._start
    GHSA-r8g5-cgf2-4m4m           numpy.f2py.crackfortran getlincoef
    GHSA-r8g5-cgf2-4m4m           numpy.f2py.crackfortran _eval_length
    CVE-2025-1716                 pip main
    GHSA-vr7h-p6mm-wpmh           torch.jit.unsupported_tensor_ops execWrapper
    GHSA-vv6j-3g6g-2pvj           torch.utils._config_module ConfigModule.load_config
    GHSA-vvpj-8cmc-gx39           pkgutil resolve_name
    GHSA-x696-vm39-cp64           profile Profile.run
    GHSA-xp4f-hrf8-rxw7           ensurepip _run_pip
    CVE-2025-1716                 pip._internal.cli.main main
    picklescan-tests              aiohttp ClientSession
    picklescan-tests              bdb Bdb.run
    picklescan-tests              cloudpickle.cloudpickle _make_function
    picklescan-tests              cloudpickle.cloudpickle subimport
    picklescan-tests              commands getoutput
    picklescan-tests              functools partial
    picklescan-tests              http.client HTTPSConnection
    picklescan-tests              logging FileHandler
    picklescan-tests              _io FileIO
    picklescan-tests              numpy.testing._private.utils runstring
    picklescan-tests              pickle loads
    picklescan-tests              _pickle loads
    picklescan-tests              pydoc pipepager
    picklescan-tests              requests.api get
    picklescan-tests              runpy _run_code
    picklescan-tests              shutil copyfile
    picklescan-tests              socket create_connection
    picklescan-tests              subprocess run
    picklescan-tests              sys exit
    picklescan-tests              timeit timeit
    picklescan-tests              torch._inductor.codecache compile_file
    picklescan-tests              torch.serialization load
    picklescan-tests              types CodeType
    picklescan-tests              urllib.request urlopen
    picklescan-tests              venv create
    picklescan-tests              webbrowser open
    picklescan-issue-66           importlib import_module
    picklescan-issue-66           importlib.util module_from_spec
    picklescan-pull-69            mailcap findmatch
    picklescan-pull-74            marshal loads
    fickling-GHSA-5hvc-6wx8-mvv4  pydoc locate
    fickling-GHSA-5hwf-rc88-82xm  _osx_support _find_build_tool
    fickling-GHSA-5j3x-jp52-966f  pathlib os.system
    fickling-GHSA-565g-hwwr-4pp3  types FunctionType
    fickling-GHSA-6ggj-6f2q-f7mx  _interpreters create
    fickling-GHSA-6ggj-6f2q-f7mx  _xxsubinterpreters create
    fickling-GHSA-h4rm-mm56-xf63  builtins __import__
    fickling-GHSA-mxhj-88fx-4pcv  smtplib SMTP
    fickling-GHSA-p523-jq9w-64x9  cProfile run
    fickling-GHSA-q5qq-mvfm-j35x  code InteractiveInterpreter
    fickling-GHSA-q5qq-mvfm-j35x  multiprocessing.util spawnv_passfds
    fickling-GHSA-r7v6-mfhq-g3m2  pty spawn
    fickling-GHSA-wfq2-52f7-7qvj  runpy run_path
    fickling-pull-249             fickling.hook remove_hook
    fickling-tests                ftplib FTP
    fickling-tests                nntplib NNTP
    fickling-tests                numpy.distutils.exec_command exec_command
    fickling-tests                poplib POP3
    fickling-tests                telnetlib Telnet
    fickling-tests                torch.hub load
    fickling-tests                torch.storage _load_from_bytes
    CVE-2025-32434                torch load
    CVE-2019-6446                 numpy load
"""  # noqa: E501
"""Where it was published, the module, the name in it."""
_CODE = 0xF5
"""A number of the extension registry that stands for os.mkdir."""


def calls() -> Iterator[tuple[str, bytes]]:
    """Yield every call of `CALLS` in each way that a pickle can call, with what it is."""
    for line in CALLS.strip().splitlines():
        source, module, name = line.split()
        get = f"c{module}\n{name}\n".encode()
        stack = short_text(module) + b"\x94" + short_text(name) + b"\x94\x93"
        for way, data in {
            "GLOBAL": get + b"(S'id'\ntR.",
            "STACK_GLOBAL": b"\x80\x04" + stack + b"\x8c\x02id\x85R.",
            "INST": f"(S'id'\ni{module}\n{name}\n.".encode(),
            "OBJ": b"(" + get + b"S'id'\no.",
            "NEWOBJ": b"\x80\x02" + get + b"U\x02id\x85\x81.",
            "NEWOBJ_EX": b"\x80\x04" + stack + b"\x8c\x02id\x85}\x92.",
            "BUILD": b"\x80\x02" + get + b"}U\x01aU\x01bsb.",
            "thrown away": b"\x80\x02" + get + b"U\x02id\x85R0N.",
        }.items():
            yield f"{source} {module} {name} by {way}", data


def tricks(canary: Path) -> dict[str, bytes]:
    """Return streams that a scanner read otherwise than Python does, by their source."""
    text = long_text(str(canary))
    call = b"cos\nmkdir\n" + text + b"\x85R"
    through_memo = b"\x93" + text + b"\x85R."
    return {
        "picklescan issue 13: INST": b"(S'%s'\nios\nmkdir\n." % str(canary).encode(),
        "picklescan issue 14: BINPUT and MEMOIZE": b"\x80\x04U\x02osq\x00U\x05mkdirq\x01"
        b"U\x0ctorch._utils\x94U\x12_rebuild_tensor_v2\x94h\x00h\x01" + through_memo,
        "picklescan issue 22: PUT in disorder": b"Vos\np2\n0Vmkdir\np3\n0Vtorch\np0\n0"
        b"VLongStorage\np1\n0g2\ng3\n" + through_memo,
        "GHSA-9gvj-pp9x-gcfr: STRING before STACK_GLOBAL": b"S'os'\nS'mkdir'\n" + through_memo,
        "picklescan tests: an entry of the memo that is missing": b"\x80\x04" + call
        + b"0\x8c\x02os\x94h\x03h\x00\x93K\x42.",
        "picklescan tests: a number in the memo": b"\x80\x04" + call
        + b"0J\x2a\x00\x00\x00\x94\x8c\x02os\x94h\x00h\x01\x93K\x42.",
        "picklescan tests: cut off after the call": call + b"X.",
        "picklescan tests: bytes after the end": call + b".\n\n\t\t",
        "picklescan tests: bytes that are no UTF-8 after the call": call + b"0cmod\n\xf8\n.",
        "modelscan issue 85: names put together with BUILD": _by_attributes(text),
        "GHSA-84r2-jw7c-4r5q: a method of a module that is located": b"c_operator\nmethodcaller\n("
        b"Vmkdir\n" + text + b"tR(cpydoc\nlocate\n(Vos\ntRtR.",
        "GHSA-vvpj-8cmc-gx39: a name that is resolved": b"cpkgutil\nresolve_name\n(Vos:mkdir\ntR"
        + text + b"\x85R.",
        "fickling GHSA-5j3x-jp52-966f: a module as an attribute": b"\x80\x04"
        + short_text("shutil") + short_text("os.mkdir") + through_memo,
        "fickling GHSA-h4rm-mm56-xf63: builtins": b"cbuiltins\n__import__\nVos\n\x85Rp0\n0"
        b"cbuiltins\ngetattr\ng0\nVmkdir\n\x86Rp1\n0g1\n" + text + b"\x85R.",
        "fickling GHSA-mxhj-88fx-4pcv: OBJ and POP": b"\x80\x04(cos\nmkdir\n" + text + b"o0N.",
        "fickling GHSA-r7v6-mfhq-g3m2: a call and BUILD": b"\x80\x04cos\nmkdir\n" + text
        + b"\x85R\x94\x8c\x06gottemb.",
        "fickling GHSA-565g-hwwr-4pp3: code in marshal": _by_marshal(canary),
        "CPython issue 154848: a frame that ends inside a string": _beyond_a_frame(call),
        "PEP 307: EXT1": _by_extension(b"\x82" + bytes([_CODE]), text),
        "PEP 307: EXT2": _by_extension(b"\x83" + struct.pack("<H", _CODE), text),
        "PEP 307: EXT4": _by_extension(b"\x84" + struct.pack("<i", _CODE), text),
        "a pickle inside a pickle": b"\x80\x03c_pickle\nloads\nB"
        + struct.pack("<I", len(call) + 1) + call + b".\x85R.",
        "Python 2: builtins by their old name": b"c__builtin__\ngetattr\n"
        b"(c__builtin__\n__import__\n(Vos\ntRVmkdir\ntR(" + text + b"tR.",
        "a name with escapes": b"\x80\x04V\\u006fs\nVmk\\u0064ir\n" + through_memo,
    }  # fmt: skip


def _by_attributes(text: bytes) -> bytes:
    """Hang `os` and `mkdir` on a function, then take them from there."""
    parts = b"".join(b"N(V%s\nV%s\nd\x86b" % pair for pair in ((b"a", b"os"), (b"b", b"mkdir")))
    names = b"0\x80\x04\x8c\x05numpy\x8c\x06prod.a\x93\x8c\x05numpy\x8c\x06prod.b\x93"
    return b"\x80\x04cnumpy\nprod\n" + parts + names + b"\x93" + text + b"\x85R."


def _by_marshal(canary: Path) -> bytes:
    source = f"import os\nos.mkdir({str(canary)!r})"
    code = marshal.dumps(compile(source, "<string>", "exec"))
    loaded = b"cmarshal\nloads\nB" + struct.pack("<I", len(code)) + code + b"\x85R"
    return b"\x80\x04ctypes\nFunctionType\n" + loaded + b"}\x86R)R."


def _by_extension(code: bytes, text: bytes) -> bytes:
    return b"\x80\x02" + code + text + b"\x85R."


def _beyond_a_frame(call: bytes) -> bytes:
    """Hide a call in a string: Python forgets the string's length where the frame's end cuts it."""
    filler = b"NV" + b"a" * (8192 * 16 - 17) + b"\n0("
    string = b"B" + struct.pack("<I", 0x107) + b"\0\0"
    frame = b"\x95" + struct.pack("<Q", 2)
    return b"\x80\x05" + filler + frame + string + (call + b"(").ljust(256 + 5, b"N") + b"1."


def wrapped(canary: Path) -> dict[str, bytes]:
    """Return files that carry a pickle inside another format, by their source."""
    inner = b"\x80\x02cos\nmkdir\n" + long_text(str(canary)) + b"\x85R."
    archive = _zip(inner)
    legacy = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {}, [])]
    objects = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        objects, {"descr": "|O", "fortran_order": False, "shape": (1,)}
    )
    return {
        "a PyTorch file": archive,
        "CVE-2025-10156: a wrong checksum in an archive": archive.replace(
            struct.pack("<I", zlib.crc32(inner)), b"\0\0\0\0"
        ),
        "CVE-2025-1944: another name at the file than in the directory": archive.replace(
            b"data.pkl", b"datap.kl", 1
        ),
        "CVE-2025-1945: a flag of an archive": archive[:6] + b"\x01\0" + archive[8:],
        "7z": b"7z\xbc\xaf\x27\x1c\0\x04" + inner,
        "gzip": zlib.compress(inner, wbits=31),
        "zlib, as joblib writes": zlib.compress(inner),
        "NumPy's file of objects": objects.getvalue() + inner,
        "GHSA-jgw4-cr84-mqxg: an old PyTorch file": b"".join(legacy) + inner,
        "picklescan tests: the magic number of PyTorch by a call": b"\x80\x02c__builtin__\neval\n"
        b"U\x160x1950A86A20F9469CFC6C\x85R." + b"".join(legacy[1:]) + inner,
        "fickling tests: a pickle before an archive": inner + archive,
        "picklescan tests: an image before a pickle": b"\x89PNG\r\n\x1a\n" + inner,
    }


def _zip(inner: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", inner)
    return file.getvalue()


copyreg.add_extension("os", "mkdir", _CODE)
