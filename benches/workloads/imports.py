"""import-heavy start-up: n times, import packages of the standard library anew."""

import importlib
import sys

PACKAGES = """argparse asyncio concurrent configparser csv decimal difflib doctest email fractions ftplib http imaplib
logging multiprocessing pdb plistlib pydoc shelve smtplib socketserver statistics tarfile tokenize unittest urllib
xml zipfile""".split()
MODULES = """argparse decimal fractions statistics email.message email.mime.text http.client http.server urllib.request
urllib.robotparser xml.etree.ElementTree xml.dom.minidom xml.sax unittest unittest.mock doctest pydoc pdb asyncio
concurrent.futures multiprocessing multiprocessing.pool difflib tarfile zipfile shelve configparser csv
logging.handlers logging.config socketserver smtplib imaplib ftplib tokenize plistlib""".split()


def forget():
    for name in list(sys.modules):
        if name.partition(".")[0] in PACKAGES:
            del sys.modules[name]


def main(n):
    for _ in range(n):
        forget()
        for name in MODULES:
            importlib.import_module(name)
    return 0
