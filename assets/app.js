// The page's scripts. Gradio components call them when they are loaded, with their `element` and a
// `trigger` that reports an event to Python; events call them with their inputs. Functions that
// events call return a list of outputs.
window.facemtl = {
  // Report which element with a data-choice attribute is clicked.
  reportChoices(element, trigger) {
    element.addEventListener('click', (event) => {
      const chosen = event.target.closest('[data-choice]');
      if (chosen) trigger('click', {choice: chosen.dataset.choice});
    });
  },

  // Compare: make screen readers announce each new answer. The live region must outlive the cards.
  announceAnswers(element) {
    const region = document.createElement('div');
    region.id = 'spoken';
    region.className = 'sr-only';
    region.setAttribute('aria-live', 'polite');
    element.after(region);
    new MutationObserver(() => {
      const said = element.querySelector('[data-spoken]')?.dataset.spoken ?? '';
      if (region.textContent !== said) region.textContent = said;
    }).observe(element, {childList: true, subtree: true});
  },

  // Compare: take a new photo and empty the inlet, so that the next photo can be dropped at once.
  // This runs in the browser, because a request to the server takes as long as a model. The time
  // makes the value change even if the same photo comes twice.
  takePhoto(photo, before) {
    if (!photo) return [before, null];
    facemtl.leaveCamera();
    return [`${performance.now()} ${photo.path}`, null];
  },

  // Compare: the camera is on from a click on its button until another face is shown or another tab
  // is selected. If it cannot be used, say why: Gradio says nothing.
  keepCamera(element) {
    // Of an image, only the source may change.
    new MutationObserver(facemtl.leaveCamera).observe(
      document.querySelector('#view'), {childList: true, subtree: true, attributeFilter: ['src']});
    window.addEventListener('unhandledrejection', (event) => {
      const why = {
        NotAllowedError: 'The browser does not allow it. Allow it in the settings of this page',
        NotFoundError: 'None was found. Connect one',
        NotReadableError: 'Another program may be using it. Close that program',
      }[event.reason?.name];
      if (!why || !document.querySelector('#photo video')) return;
      event.preventDefault();
      facemtl.leaveCamera();
      element.textContent = `The camera cannot be used. ${why}, or upload a photo.`;
    });
  },
  leaveCamera() {
    document.querySelector('#camera').textContent = '';
    document.querySelector('#photo [aria-label="Upload file"]')?.click();
  },

  // Every tab: the Escape key closes the numbers that lie over a figure.
  closeNumbers() {
    document.addEventListener('keydown', ({key}) => {
      const opened = key === 'Escape' && document.querySelector('.numbers-of[open]');
      if (!opened) return;
      opened.open = false;
      opened.querySelector('summary').focus();
    });
  },

  // Every tab: paper is light.
  printLight() {
    const {classList} = document.body;
    window.addEventListener('beforeprint', () => {
      if (!classList.contains('dark')) return;
      classList.remove('dark');
      window.addEventListener('afterprint', () => classList.add('dark'), {once: true});
    });
  },

  // Every tab: a photo that is pasted anywhere is looked at in Compare.
  takePasted() {
    document.addEventListener('paste', (event) => {
      const file = [...event.clipboardData?.files ?? []].find(({type}) => type.startsWith('image/'));
      const inlet = document.querySelector('#photo input[type=file]');
      if (!file || !inlet || event.target.closest?.('#photo')) return;
      event.preventDefault();
      document.querySelector('#tabs [role=tab]').click();  // Compare is the first one
      const files = new DataTransfer();
      files.items.add(file);
      inlet.files = files.files;
      inlet.dispatchEvent(new Event('change', {bubbles: true}));
    });
  },

  // Compare: count how often each approach was closer to the age that the visitor said. Each face
  // counts once. The score is kept in this page only.
  keepScore(element) {
    const ahead = new Map();
    const times = (n) => ({1: 'once', 2: 'twice'})[n] ?? `${n} times`;
    new MutationObserver(() => {
      const face = document.querySelector('#answer [data-ahead]')?.dataset;
      if (!face || ahead.get(face.face) === face.ahead) return;
      ahead.set(face.face, face.ahead);
      const said = [
        ['single', 'single-task was closer'], ['multi', 'multi-task was closer'], ['nobody', 'both were equally close'],
      ].map(([name, words]) => [[...ahead.values()].filter((value) => value === name).length, words])
        .filter(([n]) => n).map(([n, words]) => `${words} ${times(n)}`);
      const note = document.createElement('p');
      note.className = 'note';
      note.textContent = `Of the ages that you entered on this visit: ${said.join(', ')}. A few faces prove nothing.`;
      element.replaceChildren(note);
    }).observe(document.querySelector('#answer'), {
      childList: true, subtree: true, attributeFilter: ['data-ahead', 'data-face'],
    });
  },

  // Follow a pointer that is down on `target` until it is released or taken away.
  followPointer(target, down, move, end) {
    const stop = (event) => {
      target.removeEventListener('pointermove', move);
      target.removeEventListener('pointerup', stop);
      target.removeEventListener('pointercancel', stop);
      end(event);
    };
    target.setPointerCapture(down.pointerId);
    target.addEventListener('pointermove', move);
    target.addEventListener('pointerup', stop);
    target.addEventListener('pointercancel', stop);
  },

  // Compare: draw a box on the photo, beside the boxes that are there, to add a face.
  drawBoxes(element, trigger) {
    element.addEventListener('pointerdown', (down) => {
      const photo = down.target.closest('.photo');
      if (!photo || down.button || down.target.closest('.box') || !photo.querySelector('.box')) return;
      const frame = photo.getBoundingClientRect();
      const box = document.createElement('i');
      box.className = 'box drawn';
      let at = null;
      const move = (event) => {
        const [x, y] = [event.clientX - down.clientX, event.clientY - down.clientY];
        const side = Math.max(Math.abs(x), Math.abs(y));
        if (!at && side < 8) return;  // a click
        const left = down.clientX - frame.left - (x < 0 ? side : 0);
        const top = down.clientY - frame.top - (y < 0 ? side : 0);
        at = [left / frame.width, top / frame.height, side / frame.width];
        Object.assign(box.style, {
          left: `${left}px`, top: `${top}px`, width: `${side}px`, height: `${side}px`,
        });
        photo.append(box);
      };
      window.facemtl.followPointer(photo, down, move, (event) => {
        box.remove();
        if (at && event.type === 'pointerup') trigger('click', {added: at});
      });
    });
  },

  // Compare: make the chosen face's box movable, and resizable at its corner handle. The new crop
  // is taken when the pointer is released.
  moveBoxes(element, trigger) {
    // The browser would drag a selected picture by itself.
    element.addEventListener('dragstart', (event) => event.preventDefault());
    element.addEventListener('pointerdown', (down) => {
      const box = down.target.closest('.box[aria-pressed="true"]');
      if (!box || down.button) return;
      const photo = box.parentElement.getBoundingClientRect();
      const shape = photo.height / photo.width;
      const least = 16 / box.parentElement.querySelector('img').naturalWidth;
      // Shares of the photo's width, height, and width.
      const [left, top, side] = box.dataset.at.split(' ').map(Number);
      // From the screen's axes to the box's own.
      const turned = new DOMMatrix(getComputedStyle(box).transform).inverse();
      const resizes = down.target.classList.contains('handle');
      const before = box.style.cssText;
      const within = (value, low, high) => Math.min(Math.max(value, low), high);
      let at = null;
      const move = (event) => {
        const x = event.clientX - down.clientX;
        const y = event.clientY - down.clientY;
        if (!at && Math.hypot(x, y) < 4) return;  // a click
        // The centre stays in the photo.
        const most = 2 * Math.min(Math.max(1, shape), 0.99 - left, (0.99 - top) * shape);
        const grown = Math.max(turned.a * x + turned.c * y, turned.b * x + turned.d * y);
        const size = resizes ? within(side + grown / photo.width, least, most) : side;
        const half = [size / 2, size / 2 / shape];
        at = resizes ? [left, top, size] : [
          within(left + x / photo.width, 0.01 - half[0], 0.99 - half[0]),
          within(top + y / photo.height, 0.01 - half[1], 0.99 - half[1]),
          size,
        ];
        box.classList.add('dragged');
        const shares = {left: at[0], top: at[1], width: size, height: size / shape};
        for (const [name, share] of Object.entries(shares)) box.style[name] = `${100 * share}%`;
      };
      window.facemtl.followPointer(box, down, move, (event) => {
        box.classList.remove('dragged');
        if (!at) return;
        if (event.type === 'pointercancel') {
          box.style.cssText = before;
          return;
        }
        const swallow = (click) => {
          click.stopPropagation();
          click.preventDefault();
        };
        element.addEventListener('click', swallow, {capture: true, once: true});
        setTimeout(() => element.removeEventListener('click', swallow, {capture: true}), 0);
        trigger('click', {crop: at});
      });
    });
  },

  // Compare: the tabs of the closer look. The server is asked only for panes that hold nothing yet.
  // "What if" has tabs of its own below. New tabs from the server, for a new face, have none chosen.
  closerLook(element, trigger) {
    const panel = element.closest('#closer');
    const chosenOf = (list) => list.querySelector('[aria-selected="true"]');
    // Show the pane of the chosen tab, and return this tab.
    const arrange = () => {
      const [looks, changes] = element.querySelectorAll('[role=tablist]');
      let tab = looks && chosenOf(looks);
      if (changes) {
        changes.hidden = tab?.getAttribute('aria-controls') !== changes.id;
        if (!changes.hidden) tab = chosenOf(changes);
      }
      for (const pane of panel.querySelectorAll('[id^="look-"]')) {
        pane.hidden = pane.id !== tab?.getAttribute('aria-controls');
        pane.setAttribute('role', 'tabpanel');
        pane.setAttribute('aria-labelledby', pane.id.replace('look-', 'tab-'));
      }
      return tab;
    };
    const select = (list, chosen) => {
      for (const tab of list.children) {
        tab.setAttribute('aria-selected', String(tab === chosen));
        tab.tabIndex = tab === (chosen ?? list.firstElementChild) ? 0 : -1;
      }
      return arrange();
    };
    element.addEventListener('click', (event) => {
      const clicked = event.target.closest('[role=tab]');
      if (!clicked || event.detail > 1) return;  // the second half of a double click
      window.facemtl.holdCloser();
      const tab = select(clicked.parentElement, clicked);
      const made = document.getElementById(tab.getAttribute('aria-controls')).querySelector('section');
      if (!made || made.matches('.message:not(.working)')) {
        trigger('click', {choice: tab.dataset.choice});
      } else {
        window.facemtl.showCloser();
      }
    });
    element.addEventListener('keydown', (event) => {
      const tab = event.target.closest('[role=tab]');
      if (!tab) return;
      const tabs = [...tab.parentElement.children];
      const at = tabs.indexOf(tab);
      const next = {ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1}[event.key];
      if (next === undefined) return;
      event.preventDefault();
      tabs.at(next % tabs.length).focus();
    });
    panel.addEventListener('click', (event) => {
      if (!event.target.closest('[data-choice=stop]')) return;
      const list = element.querySelector('[role=tablist]');
      const stopped = chosenOf(list);
      select(list, null);
      stopped?.focus({preventScroll: true});
    });
    panel.addEventListener('input', (event) => window.facemtl.whatIf(event.target, panel));
    // Gradio may keep the elements and change their attributes only.
    new MutationObserver(arrange).observe(
      element, {childList: true, subtree: true, attributes: true, attributeFilter: ['data-of']});
    arrange();
  },

  // Compare: move along a change of the face, or show the curve of another task.
  whatIf(input, panel) {
    if (input.type === 'range') {
      const trial = input.closest('.what-if');
      for (const part of trial.querySelectorAll('[data-at]')) {
        part.hidden = part.dataset.at !== input.value;
      }
      trial.style.setProperty('--at', `${100 * input.value / input.max}%`);
    } else if (input.type === 'radio') {
      for (const same of panel.querySelectorAll(`input[type=radio][value="${input.value}"]`)) {
        same.checked = true;
      }
      for (const part of panel.querySelectorAll('.of-task')) {
        part.hidden = part.dataset.task !== input.value;
      }
    }
    for (const trial of panel.querySelectorAll('.what-if')) {
      const said = trial.querySelectorAll('output:not([hidden]), .of-task:not([hidden]) .now:not([hidden]) span');
      trial.querySelector('input[type=range]').setAttribute(
        'aria-valuetext', [...said].map((part) => part.textContent).join('. '));
    }
  },

  // Compare: cover the face with a brush, in cells of a grid. Only the cells are sent.
  paint(element, trigger) {
    const draw = (painter) => {
      const canvas = painter.querySelector('canvas');
      const [n, context] = [Number(painter.dataset.grid), canvas.getContext('2d')];
      const size = canvas.width / n;
      context.clearRect(0, 0, canvas.width, canvas.height);
      context.fillStyle = painter.dataset.colour;
      [...maskOf(painter)].forEach((cell, i) => {
        if (cell === '1') context.fillRect((i % n) * size, Math.floor(i / n) * size, size, size);
      });
    };
    const maskOf = (painter) => painter.dataset.mask ?? '0'.repeat(painter.dataset.grid ** 2);
    const cover = (painter, isCovered) => {
      painter.dataset.mask = [...maskOf(painter)].map((c, i) => isCovered(i) ? '1' : c).join('');
      draw(painter);
    };
    const send = (painter) => trigger('input', {mask: maskOf(painter)});
    element.addEventListener('click', ({target}) => {
      const mask = target.closest('[data-mask]:not(.painter)')?.dataset.mask;
      if (!mask) return;
      const painter = element.querySelector('.painter');
      if (!mask.includes('1')) painter.dataset.mask = mask;
      cover(painter, (i) => mask[i] === '1');
      send(painter);
    });
    element.addEventListener('pointerdown', (down) => {
      const canvas = down.target.closest('canvas');
      if (!canvas || down.button) return;
      const painter = canvas.parentElement;
      const n = Number(painter.dataset.grid);
      let last = null;
      const brush = (event) => {
        const box = canvas.getBoundingClientRect();
        const to = [(event.clientX - box.left) / box.width * n, (event.clientY - box.top) / box.height * n];
        const from = last ?? to;
        const steps = Math.ceil(2 * Math.hypot(to[0] - from[0], to[1] - from[1])) || 1;
        const stops = Array.from({length: steps}, (_, i) => from.map((v, k) => v + (to[k] - v) * (i + 1) / steps));
        cover(painter, (i) => stops.some(([x, y]) => Math.hypot(i % n + 0.5 - x, Math.floor(i / n) + 0.5 - y) < 1.1));
        last = to;
      };
      window.facemtl.followPointer(canvas, down, brush, () => send(painter));
      brush(down);
    });
  },

  // Compare: scroll to the closer look that was asked for. Nothing may move below the pointer during
  // a double click, because the second click would hit another button. So the page scrolls later,
  // and keeps its height even if a short pane replaces a long one.
  holdCloser() {
    const closer = document.getElementById('closer');
    closer.style.minHeight = `${closer.getBoundingClientRect().height}px`;
    setTimeout(() => closer.scrollIntoView({behavior: 'smooth', block: 'nearest'}), 500);
  },
  showCloser() {
    const closer = document.getElementById('closer');
    setTimeout(() => {
      closer.style.minHeight = '';
      closer.scrollIntoView({behavior: 'smooth', block: 'nearest'});
    }, 500);
    return [];
  },

  // Compare: a face was unpinned, so its button is gone. The button that pins gets the focus.
  toPin() {
    document.querySelector('#pin')?.focus({preventScroll: true});
    return [];
  },

  // Other tabs: scroll to the face that they have opened in Compare.
  toTop() {
    window.scrollTo({top: 0});
    return [];
  },

  // The headline leads to the findings.
  toTraining: () => ['training', 'results'].map((selected) => ({__type__: 'update', selected})),

  // The address bar names the tab on display and what it shows: a face, or filters. What a visitor
  // does adds an address to the history. Back and Forward show again what an address names.
  address: {
    tab: 'compare',
    // The last tab on display inside each tab that has tabs.
    inner: {},
    // For each name: the tab, and the tab inside it.
    places: {
      compare: ['compare'], faces: ['faces', 'random'], guess: ['faces', 'guess'],
      validation: ['validation'],
      training: ['training', 'results'], dataset: ['training', 'dataset'], about: ['about'],
    },
    byVisitor: false,
    asked: () => new URLSearchParams(window.location.search),
    // Gradio's own parameters stay in every address.
    isOurs: (name) => !name.startsWith('_') && name !== 'view',
  },
  // Fill the three rows of tabs: choose what the address names, or else Compare.
  chooseTabs() {
    const {asked, places, inner} = facemtl.address;
    const named = asked().get('tab') ?? (asked().has('seed') ? 'faces' : 'compare');
    const tab = named in places ? named : 'compare';
    const [outer, id] = places[tab];
    inner[outer] = tab;
    const chosen = (selected) => ({__type__: 'update', ...(selected ? {selected} : {})});
    return [
      chosen(outer),
      chosen(outer === 'faces' ? id : null),
      chosen(outer === 'training' ? id : null),
    ];
  },
  seeTab(name) {
    const {address} = facemtl;
    address.inner[address.places[name][0]] = name;
    address.tab = name;
    if (name !== 'compare') facemtl.leaveCamera();
    facemtl.noteAddress();
    return [];
  },
  seeOuterTab: (name) => facemtl.seeTab(facemtl.address.inner[name] ?? name),
  noteAddress() {
    clearTimeout(facemtl.address.timer);
    facemtl.address.timer = setTimeout(() => {  // a tab and its content change one after the other
      const {tab, asked, byVisitor, isOurs} = facemtl.address;
      const now = asked();
      const isNamed = [...now.keys()].some(isOurs);
      if (!byVisitor && isNamed) return;  // what the address asks for is still being made
      const next = new URLSearchParams([...now].filter(([name]) => !isOurs(name)));
      if (tab !== 'compare') next.set('tab', tab);
      const place = {compare: '#view', faces: '#seed-link', validation: '#metrics'}[tab];
      const link = place && document.querySelector(`${place} a.address`);
      if (tab === 'faces' && !link) return;  // not drawn yet
      const shown = new URLSearchParams(link?.getAttribute('href') ?? '');
      for (const [name, value] of shown) next.set(name, value);
      next.sort();
      now.sort();
      if (`${next}` === `${now}`) return;
      const url = `${window.location.pathname}${`${next}` && `?${next}`}`;
      if (byVisitor) window.history.pushState(null, '', url);
      else window.history.replaceState(null, '', url);
      facemtl.keepGradients();
    }, 150);
  },
  // Plotly refers to a gradient by the page's whole address. Once the address has changed, the
  // gradient is no longer found. A fragment alone always refers to this page.
  keepGradients() {
    for (const bar of document.querySelectorAll('.gradient_filled')) {
      bar.style.fill = bar.style.fill.replace(/url\("[^"#]*#/, 'url("#');
    }
  },
  followAddress(element, trigger) {
    const {address} = facemtl;
    for (const act of ['pointerdown', 'keydown', 'change', 'drop', 'paste']) {
      window.addEventListener(act, () => { address.byVisitor = true; }, {capture: true});
    }
    window.addEventListener('popstate', () => {
      address.byVisitor = false;
      facemtl.keepGradients();
      trigger('click', {query: window.location.search});
    });
    // Gradio changes a link's attribute in place.
    new MutationObserver((changes) => {
      if (changes.some(({target}) => target.closest?.('#view, #seed-link, #metrics'))) {
        facemtl.noteAddress();
      }
    }).observe(document.body, {childList: true, subtree: true, attributeFilter: ['href']});
  },

  // Random faces: copy the link to the faces on display.
  copyLink(element) {
    element.addEventListener('click', async (event) => {
      const button = event.target.closest('.copy');
      if (!button) return;
      const link = element.querySelector('a');
      try {
        await navigator.clipboard.writeText(link.href);
        button.textContent = 'Copied';
      } catch {
        button.textContent = 'Copy it from the address bar';
        window.history.replaceState(null, '', link.href);
      }
      setTimeout(() => { button.textContent = 'Copy'; }, 3000);
    });
  },

  // Guess: on a phone, the answer is below the window.
  toGuessResult() {
    document.querySelector('#guess-result').scrollIntoView({behavior: 'smooth', block: 'nearest'});
    // The button that was pressed is gone.
    document.querySelector('#guess-next')?.focus({preventScroll: true});
    return [];
  },
  toGuess() {
    document.querySelector('#guess input[type=range]')?.focus({preventScroll: true});
    return [];
  },

  // Figures: Gradio's columns have no ARIA role. With this, screen readers announce a card as a
  // figure, by its question.
  nameFigure(element) {
    const card = element.closest('.figure');
    card?.setAttribute('role', 'figure');
    card?.setAttribute('aria-label', element.textContent.trim());
  },

  // Validation: name the figure, and report clicks on its marks. Plotly reports clicks only to
  // listeners of the figure. Figures are redrawn, so the listener is set whenever the pointer enters one.
  answerFigure(element, trigger) {
    window.facemtl.nameFigure(element);
    const card = element.closest('.figure');
    card.addEventListener('pointerover', (event) => {
      const plot = event.target.closest('.js-plotly-plot');
      if (!plot?.data?.some((trace) => trace.meta)) return;
      plot.classList.add('clickable');
      plot.removeAllListeners('plotly_click');
      plot.on('plotly_click', ({points: [point]}) => {
        if (!point?.data.meta) return;
        const group = Array.isArray(point.customdata) ? point.customdata[0] : null;
        trigger('click', {...point.data.meta, x: point.x, y: point.y, group});
      });
    }, true);
    // A figure that was drawn while it was folded has a wrong width. Plotly measures it again when
    // the window's size changes.
    let wasOpen = false;
    const tell = () => {
      const button = card.querySelector('.label-wrap');
      if (!button) return;
      const isOpen = button.classList.contains('open');
      button.setAttribute('aria-expanded', isOpen);
      if (isOpen && !wasOpen) requestAnimationFrame(() => window.dispatchEvent(new Event('resize')));
      wasOpen = isOpen;
    };
    new MutationObserver(tell).observe(card, {
      childList: true, subtree: true, attributes: true, attributeFilter: ['class'],
    });
    tell();
  },
  // Validation: the first input becomes the titles of the folded figures that are open now.
  withUnfolded(_, ...others) {
    const opened = [...document.querySelectorAll('.figure:has(.label-wrap.open) .figure-title')];
    return [opened.map((title) => title.textContent.trim()), ...others];
  },
  // Validation: report ages when they are typed and left, or stepped. Gradio would report each digit.
  reportAges(trigger) {
    document.addEventListener('change', (event) => {
      if (event.target.matches('#which-images input[type=number]')) trigger('click');
    });
  },
  // Validation: report a face that is chosen, and a wish for more. Closing needs no server.
  reportFaces(element, trigger) {
    element.addEventListener('click', (event) => {
      const button = event.target.closest('button');
      if (!button) return;
      if (button.dataset.choice) trigger('click', {choice: button.dataset.choice});
      if (button.classList.contains('more')) trigger('submit');
      if (!button.classList.contains('close')) return;
      const place = element.closest('.block.faces-of');
      place.classList.add('closed');
      const title = place.previousElementSibling?.querySelector('.figure-title');
      if (!title) return;
      title.tabIndex = -1;
      title.focus({preventScroll: true});
      title.scrollIntoView({block: 'nearest'});
    });
  },
  toFaces() {
    for (const place of document.querySelectorAll('.block.faces-of')) place.classList.remove('closed');
    document.querySelector('.faces-of section')?.scrollIntoView(
      {behavior: 'smooth', block: 'nearest'});
    return [];
  },

  // About: make tables focusable, so that wide ones can be scrolled with the keyboard.
  focusTables() {
    const reach = () => {
      for (const table of document.querySelectorAll('#model-card table')) table.tabIndex = 0;
    };
    new MutationObserver(reach).observe(document.body, {childList: true, subtree: true});
    reach();
  },
  // About: scroll to a heading from the contents. If its text is not rendered yet, wait for it.
  followContents(element) {
    let wanted;
    const lead = () => {
      const heading = document.querySelector(`#model-card .part-${wanted} h2`);
      if (!heading) return requestAnimationFrame(lead);
      heading.tabIndex = -1;
      heading.focus({preventScroll: true});
      heading.scrollIntoView({behavior: 'smooth'});
    };
    element.addEventListener('click', (event) => {
      const chosen = event.target.closest('[data-heading]');
      if (!chosen) return;
      event.preventDefault();
      wanted = chosen.dataset.heading;
      lead();
    });
  },

  // The offer of UTKFace: the button that was pressed is gone, so its card gets the focus.
  toOffer() {
    const card = [...document.querySelectorAll('.offer')].find((each) => each.offsetParent);
    card?.setAttribute('tabindex', '-1');
    card?.focus({preventScroll: true});
    return [];
  },

  // All tabs: hide what belongs to sensitive tasks.
  hideSensitive(hidden) {
    document.body.classList.toggle('hide-sensitive', hidden);
  },
};
