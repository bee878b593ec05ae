<?php
// Sends one mail by PHP's own mail(), as a script from before PHPMailer does.
$subject = '=?UTF-8?B?' . base64_encode(getenv('SUBJECT')) . '?=';
exit(mail(getenv('TO'), $subject, file_get_contents(getenv('BODY')), file_get_contents(getenv('HEADERS')), '-f' . getenv('SENDER')) ? 0 : 1);
