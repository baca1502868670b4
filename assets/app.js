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
  takePhoto: (photo, before) => [photo ? `${performance.now()} ${photo.path}` : before, null],

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
      const end = (event) => {
        box.removeEventListener('pointermove', move);
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
      };
      box.setPointerCapture(down.pointerId);
      box.addEventListener('pointermove', move);
      box.addEventListener('pointerup', end, {once: true});
      box.addEventListener('pointercancel', end, {once: true});
    });
  },

  // Compare: scroll to the closer look that was asked for. Nothing may move below the pointer during
  // a double click, because the second click would hit another button. So the page scrolls later,
  // and keeps its height even if a short card replaces a long one.
  waitForCloser() {
    const closer = document.getElementById('closer');
    closer.style.minHeight = `${closer.offsetHeight}px`;
    setTimeout(() => closer.scrollIntoView({behavior: 'smooth', block: 'nearest'}), 500);
    return [];
  },
  showCloser() {
    const closer = document.getElementById('closer');
    setTimeout(() => {
      closer.style.minHeight = '';
      closer.scrollIntoView({behavior: 'smooth', block: 'nearest'});
    }, 500);
    return [];
  },

  // Other tabs: scroll to the face that they have opened in Compare.
  toTop() {
    window.scrollTo({top: 0});
    return [];
  },

  // The headline leads to the findings.
  toTraining: () => ({__type__: 'update', selected: 'training'}),

  // A link to faces opens the tab Random faces at once, before the faces are drawn.
  chooseTab() {
    const isLink = new URLSearchParams(window.location.search).has('seed');
    return {__type__: 'update', ...(isLink ? {selected: 'random'} : {})};
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

  // Validation: report clicks on figures. Plotly tells them only to listeners of the figure. Figures
  // are redrawn, so the listener is set whenever the pointer enters one.
  reportPoints(trigger) {
    document.addEventListener('pointerover', (event) => {
      const plot = event.target.closest?.('.js-plotly-plot');
      if (!plot?.data?.some((trace) => trace.meta)) return;
      plot.classList.add('clickable');
      plot.removeAllListeners('plotly_click');
      plot.on('plotly_click', ({points: [point]}) => {
        if (!point) return;
        window.facemtl.clickedFigure = plot;
        document.querySelector('#back button').style.visibility = 'visible';
        trigger('click', {...point.data.meta, x: point.x, y: point.y});
      });
    }, true);
  },
  toFaces() {
    document.querySelector('#behind').scrollIntoView({behavior: 'smooth'});
    return [];
  },
  backToFigure(element) {
    element.addEventListener('click', (event) => {
      if (!event.target.closest('button')) return;
      window.facemtl.clickedFigure?.scrollIntoView({behavior: 'smooth', block: 'center'});
    });
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
